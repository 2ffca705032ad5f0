r"""Fine-tunes the emoji upsampler to inpaint; the small picture is whole, the large erased in part.

glide-jax train --config configs/emoji_256_inpaint.py --workdir runs/emoji_256_inpaint
"""

from ml_collections import ConfigDict

from glide_jax.configs import emoji_64, presets, shapes_256


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    config = presets.inpainting(shapes_256.get_config(size))
    config.name = config.name.replace("shapes_256", "emoji_256_inpaint")
    if size == "full":
        emoji_64.of_emoji(config)
        config.train.update(num_steps=200, init_from="emoji")
        config.optim.update(lr=5e-4, warmup_steps=20, decay_fraction=0.5)
        config.log.update(sample_every_steps=100, checkpoint_every_steps=50)
    return config
