r"""The paper's upsampler: 1.5 billion parameters, batch 512, 1.6 M steps (GLIDE, section 4.1).

glide-jax train --config configs/upsample_256.py --workdir runs/upsample_256
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    presets.check(size)
    config = presets.upsampler("upsample_256", "paper-upsample")
    config.data.update(source="webdataset", path="data/*.tar", workers=16)
    config.optim.warmup_steps = 1000
    config.train.update(num_steps=1_600_000, batch_size=512, remat="blocks")
    config.mesh.fsdp = 16
    if size == "smoke":
        config.mesh.fsdp = 1
        return presets.smoke(config)
    return config
