r"""Fine-tunes an upsampler to inpaint; the small picture is whole, the large one erased in part.

    glide-jax train --config configs/upsample_256_inpaint.py --workdir runs/upsample_256_inpaint \
        --config.train.init_from=runs/upsample_256/model

Step 0 draws what the model that it starts from does.
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets, upsample_256


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    config = presets.inpainting(upsample_256.get_config(size))
    config.name = config.name.replace("upsample_256", "upsample_256_inpaint")
    if size == "full":
        config.train.update(num_steps=200_000, init_from="runs/upsample_256/model")
    return config
