r"""The config of `glide-jax finetune`; the model and its diffusion are the given directory's.

It is gentler than a training run: a small learning rate, and an average over few steps.
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is base or upsample."""
    presets.check(size, "full", "base", "upsample")
    upsample = size == "upsample"
    config = presets.upsampler("finetune") if upsample else presets.text_to_image("finetune")
    config.data.update(source="folder", workers=0)
    config.diffusion.null_fraction = 0.2
    config.optim.update(lr=1e-5, warmup_steps=50, clip_norm=1.0)
    config.train.update(num_steps=1000, batch_size=8, ema=(0.99,), dtype="float32")
    config.log.update(every_steps=20, sample_every_steps=200, checkpoint_every_steps=100)
    return config
