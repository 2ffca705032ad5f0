r"""Emoji at 64 px: 30 M parameters, half an hour of one large GPU.

glide-jax data build emoji_64
glide-jax train --config configs/emoji_64.py --workdir runs/emoji_64
"""

from ml_collections import ConfigDict

from configs import presets


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    presets.check(size)
    text = dict(text_width=256, text_layers=6, text_heads=4, text_context=32)
    config = presets.text_to_image("emoji_64", channels=64, res_blocks=2, **text)
    presets.shapes_tokens(config, 4096)
    config.data.update(source="emoji", workers=8)
    config.diffusion.update(null_fraction=0.1, max_snr=5.0)
    config.optim.update(lr=3e-4, warmup_steps=500, schedule="linear", decay_fraction=0.3)
    config.optim.clip_norm = 1.0
    config.train.update(num_steps=10_000, batch_size=256, ema=(0.999, 0.9999))
    config.log.update(every_steps=50, sample_every_steps=1000, checkpoint_every_steps=500)
    config.log.prompts = presets.EMOJI_PROMPTS
    return presets.smoke(config) if size == "smoke" else config
