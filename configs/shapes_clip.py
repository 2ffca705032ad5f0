r"""A noise-aware CLIP of captioned shapes: reads and guides what the shapes base draws.

glide-jax train --config configs/shapes_clip.py --workdir runs/shapes_clip
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    presets.check(size)
    config = presets.clip(
        "shapes_clip", patch=8, image_width=128, image_layers=4, image_heads=4, text_width=128,
        text_layers=3, text_heads=4, text_context=24, embedding_width=128,
    )  # fmt: skip
    presets.shapes_tokens(config)
    config.data.source = "shapes_endless"
    config.optim.update(name="muon", lr=1e-3, b1=0.95, b2=0.99, clip_norm=1.0, weight_decay=0.0)
    config.optim.update(schedule="linear", warmup_steps=50, decay_fraction=0.5)
    config.train.update(num_steps=600, batch_size=256, ema=(0.99,), dtype="float32")
    config.log.update(every_steps=25, checkpoint_every_steps=100)
    return presets.smoke(config) if size == "smoke" else config
