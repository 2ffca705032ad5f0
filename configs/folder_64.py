r"""A folder of your own pictures and captions, at 64 px.

    glide-jax train --config configs/folder_64.py:tiny --workdir runs/mine \
        --config.data.path=PICTURES

A caption is a .txt file beside its picture. `tiny` (3.8 M parameters) is the network of `shapes`,
which it goes on from with words of its own, so that two CPU cores show pictures within minutes;
`full` (30 M) begins from random weights and wants a GPU.
"""

from ml_collections import ConfigDict

from glide_jax.configs import emoji_64, presets, shapes_64


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full, tiny or smoke."""
    presets.check(size, "full", "tiny", "smoke")
    config = emoji_64.get_config() if size == "full" else shapes_64.get_config()
    config.name = f"folder_64{'-tiny' if size == 'tiny' else ''}"
    config.data.update(source="folder", kinds=(), workers=8 if size == "full" else 0)
    config.log.prompts = ()
    presets.shapes_tokens(config, 4096 if size == "full" else 1000)
    if size != "full":
        presets.from_shapes(config).model.text_context = 32
        config.diffusion.noisy_share = 0.0
        config.sampling.eta = 0.0  # what noise in every step gains was measured on shapes alone
        config.optim.accumulate = 1
        config.train.update(batch_size=16, ema=(0.99,))
        config.log.update(every_steps=20, sample_every_steps=50)
    return presets.smoke(config) if size == "smoke" else config
