r"""COCO's captions at 64 px with the released base's network, 385 M parameters.

glide-jax data build coco
glide-jax train --config configs/coco_64.py --workdir runs/coco_64
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    presets.check(size)
    config = presets.text_to_image("coco_64")
    config.data.update(source="coco", workers=8)
    config.diffusion.null_fraction = 0.2
    config.optim.update(warmup_steps=1000, clip_norm=1.0)
    config.train.update(num_steps=300_000, batch_size=256)
    config.log.prompts = presets.PHOTO_PROMPTS
    return presets.smoke(config) if size == "smoke" else config
