r"""Fine-tunes a base for classifier-free guidance: 20% of captions are empty (GLIDE, section 2.3).

    glide-jax train --config configs/base_64_cfg.py --workdir runs/base_64_cfg \
        --config.train.init_from=runs/base_64/model

The model that it starts from must have this config's network.
"""

from ml_collections import ConfigDict

from glide_jax.configs import base_64


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    config = base_64.get_config(size)
    config.name = config.name.replace("base_64", "base_64_cfg")
    config.diffusion.null_fraction = 0.2
    config.sampling.guidance_scale = config.log.guidance_scale = 3.0
    if size == "full":
        config.train.update(num_steps=200_000, init_from="runs/base_64/model")
    return config
