r"""Emoji from 64 to 256 px: 6 M parameters, a quarter of an hour of one large GPU.

    glide-jax data build emoji_256
    glide-jax train --config configs/emoji_256.py --workdir runs/emoji_256
    glide-jax train --config configs/emoji_256.py:tiny --workdir runs/emoji_256-tiny

`tiny` goes on from the upsampler of `shapes`, on two CPU cores.
"""

from ml_collections import ConfigDict

from glide_jax.configs import emoji_64, presets, shapes_256


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full, tiny or smoke."""
    presets.check(size, "full", "tiny", "smoke")
    if size == "tiny":
        config = emoji_64.anew(shapes_256.get_config(), "emoji_256-tiny")
        config.train.num_steps = 300
        return config
    unet = dict(channels=32, channel_mult=(1, 2, 4, 4), res_blocks=1, attention=())
    text = dict(text_width=128, text_layers=2, text_heads=2, text_context=32)
    config = presets.upsampler("emoji_256", **unet, **text)
    presets.shapes_tokens(config, 4096)
    config.data.update(source="emoji", low_res_noise=0.12, workers=8)
    config.diffusion.update(null_fraction=0.1)
    config.optim.update(lr=3e-4, warmup_steps=500, schedule="linear", decay_fraction=0.3)
    config.optim.clip_norm = 1.0
    config.train.update(num_steps=15_000, batch_size=64, ema=(0.999,))
    config.log.update(every_steps=50, sample_every_steps=1000, checkpoint_every_steps=500)
    return presets.smoke(config) if size == "smoke" else config
