r"""Fine-tunes the emoji base to inpaint: four more input channels that start at zero.

glide-jax train --config configs/emoji_64_inpaint.py --workdir runs/emoji_64_inpaint
"""

from ml_collections import ConfigDict

from glide_jax.configs import emoji_64, presets, shapes_64_inpaint


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    presets.check(size)
    config = shapes_64_inpaint.get_config(size)
    config.name = config.name.replace("shapes", "emoji")
    if size == "full":
        emoji_64.of_emoji(config)
        config.train.init_from = "emoji"
    return config
