r"""Fine-tunes a base to inpaint: four more input channels that start at zero (GLIDE, section 4.3).

    glide-jax train --config configs/base_64_inpaint.py --workdir runs/base_64_inpaint \
        --config.train.init_from=runs/base_64/model

Step 0 draws what the model that it starts from does.
"""

from ml_collections import ConfigDict

from glide_jax.configs import base_64, presets


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    config = presets.inpainting(base_64.get_config(size))
    config.name = config.name.replace("base_64", "base_64_inpaint")
    config.diffusion.null_fraction = 0.2
    config.sampling.guidance_scale, config.log.guidance_scale = 5.0, 3.0
    if size == "full":
        config.train.update(num_steps=500_000, init_from="runs/base_64/model")
    return config
