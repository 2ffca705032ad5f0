r"""A noise-aware CLIP of emoji, from that of shapes: reads and guides what the emoji base draws.

glide-jax train --config configs/emoji_clip.py --workdir runs/emoji_clip
"""

from ml_collections import ConfigDict

from glide_jax.configs import emoji_64, presets, shapes_clip


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    presets.check(size)
    config = emoji_64.anew(shapes_clip.get_config(), "emoji_clip")
    config.train.num_steps = 250
    return presets.smoke(config) if size == "smoke" else config
