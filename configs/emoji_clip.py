r"""A noise-aware CLIP of emoji, from that of shapes: reads and guides what the emoji base draws.

    glide-jax train --config configs/emoji_clip.py --workdir runs/emoji_clip
    glide-jax train --config configs/emoji_clip.py:more --workdir runs/emoji_clip-more

`more` goes on from the emoji model in the box.
"""

from ml_collections import ConfigDict

from configs import emoji_64, presets, shapes_clip


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full, more or smoke."""
    presets.check(size, "full", "more", "smoke")
    if size == "more":
        config = emoji_64.of_emoji(shapes_clip.get_config())
        config.name = "emoji_clip-more"
        config.train.init_from = "emoji"
        return config
    config = emoji_64.anew(shapes_clip.get_config(), "emoji_clip")
    config.train.num_steps = 250
    return presets.smoke(config) if size == "smoke" else config
