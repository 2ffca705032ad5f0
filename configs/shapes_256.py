r"""Captioned shapes from 64 to 256 px.

glide-jax train --config configs/shapes_256.py --workdir runs/shapes_256
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    presets.check(size)
    config = presets.upsampler("shapes_256", "shapes-upsample")
    presets.shapes_tokens(config)
    # A base's pictures are not as clean as a reduced photograph; a quarter of one is enough to
    # learn edges from, at a quarter of the work.
    config.data.update(source="shapes_endless", window=128, low_res_noise=0.12, low_res_blur=0.6)
    config.diffusion.update(prediction="v", max_snr=5.0, null_fraction=0.1, vb_weight=1e-4)
    config.optim.update(name="muon", lr=1e-3, b1=0.95, b2=0.99, clip_norm=1.0)
    config.optim.update(schedule="linear", warmup_steps=50, decay_fraction=0.4)
    config.train.update(num_steps=1800, batch_size=16, ema=(0.995,), dtype="float32")
    config.log.update(every_steps=25, sample_every_steps=250, checkpoint_every_steps=200)
    return presets.smoke(config) if size == "smoke" else config
