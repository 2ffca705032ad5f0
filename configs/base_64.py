r"""The paper's base: 3.5 billion parameters, batch 2048, 2.5 M steps (GLIDE, section 4.1).

    glide-jax train --config configs/base_64.py --workdir runs/base_64 \
        --config.data.path='laion/*.tar' --config.mesh.fsdp=16

The paper trains in 16 bits with loss scaling; bfloat16 needs none. Learning rate, average and
dropout are ADM's, since the paper gives none.
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    presets.check(size)
    config = presets.text_to_image("base_64", "paper-base")
    config.data.update(source="webdataset", path="data/*.tar", workers=16)
    config.optim.warmup_steps = 1000
    # It never sees the empty prompt, so there is nothing to guide it from; base_64_cfg learns that.
    config.sampling.guidance_scale = config.log.guidance_scale = 1.0
    config.train.update(num_steps=2_500_000, batch_size=2048, remat="blocks")
    config.mesh.fsdp = 16
    config.log.prompts = presets.PHOTO_PROMPTS
    if size == "smoke":
        config.mesh.fsdp = 1
        return presets.smoke(config)
    return config
