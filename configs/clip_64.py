r"""The noise-aware CLIP that guides a base, ViT-B as the released one (GLIDE, section 2.4).

glide-jax train --config configs/clip_64.py --workdir runs/clip_64
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    presets.check(size)
    config = presets.clip("clip_64")
    config.data.update(source="webdataset", path="data/*.tar", workers=16)
    return presets.smoke(config) if size == "smoke" else config
