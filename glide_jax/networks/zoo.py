"""Networks from configs, and named sizes: the released family, the paper's, and small ones."""

import dataclasses

import jax.numpy as jnp
from jax.typing import DTypeLike

from glide_jax.errors import InputError
from glide_jax.networks.clip import ClipImageEncoder, ClipModel, ClipTextEncoder
from glide_jax.networks.model_config import ClipConfig, ModelConfig
from glide_jax.networks.text import TextEncoder
from glide_jax.networks.text_unet import GlideModel, TextKeysValues
from glide_jax.networks.unet import UNet


def glide_model(config: ModelConfig, dtype: DTypeLike = jnp.float32) -> GlideModel:
    """The network of a config, computing in `dtype` over float32 parameters."""
    unet = UNet(config, dtype)
    if not config.text_width:
        return GlideModel(unet)
    return GlideModel(unet, TextEncoder(config, dtype), TextKeysValues(config, dtype))


def clip_model(config: ClipConfig, dtype: DTypeLike = jnp.float32) -> ClipModel:
    """The noise-aware CLIP of a config, computing in `dtype` over float32 parameters."""
    image = ClipImageEncoder(
        patch=config.patch,
        width=config.image_width,
        layers=config.image_layers,
        heads=config.image_heads,
        embedding_width=config.embedding_width,
        num_timesteps=config.num_timesteps,
        dtype=dtype,
    )
    text = ClipTextEncoder(
        vocab_size=config.vocab_size,
        width=config.text_width,
        layers=config.text_layers,
        heads=config.text_heads,
        context=config.text_context,
        embedding_width=config.embedding_width,
        dtype=dtype,
    )
    return ClipModel(image=image, text=text, logit_scale=config.logit_scale)


BASE = ModelConfig()
UPSAMPLE = ModelConfig(
    image_size=256, channel_mult=(1, 1, 2, 2, 4, 4), res_blocks=2, upsampler=True
)
CLIP = ClipConfig()
# The paper's own sizes (section 4.1); neither was released. 2.2 B of UNet and 1.3 B of text, and
# 1.54 B with 16 text layers, which is what the paper's "1.5 billion" fits.
PAPER_BASE = dataclasses.replace(BASE, channels=512, text_width=2048, text_layers=24, text_heads=32)
PAPER_UPSAMPLE = dataclasses.replace(UPSAMPLE, channels=384, text_width=1024, text_heads=16)
# Sizes for a laptop. The shapes pair ships inside the package.
SHAPES_BASE = ModelConfig(
    channels=32,
    channel_mult=(1, 2, 4),
    res_blocks=1,
    attention=(16, 8),
    head_channels=32,
    resblock_updown=False,
    patch=2,
    norm_groups=8,
    dropout=0.0,
    text_width=128,
    text_layers=3,
    text_heads=4,
    text_context=24,
    vocab_size=400,
)
SHAPES_UPSAMPLE = dataclasses.replace(
    SHAPES_BASE,
    image_size=256,
    channel_mult=(1, 2, 2),
    attention=(),
    text_width=64,
    text_layers=1,
    text_heads=2,
    upsampler=True,
)

MODELS = {
    "base": BASE,
    "upsample": UPSAMPLE,
    "base-inpaint": dataclasses.replace(BASE, inpaint=True),
    "upsample-inpaint": dataclasses.replace(UPSAMPLE, inpaint=True),
    "paper-base": PAPER_BASE,
    "paper-upsample": PAPER_UPSAMPLE,
    "shapes-base": SHAPES_BASE,
    "shapes-upsample": SHAPES_UPSAMPLE,
}


def named(name: str) -> ModelConfig:
    """The config of a named size.

    Raises:
        InputError: no such name.
    """
    if name not in MODELS:
        raise InputError(f"model size {name!r} is unknown; known are {', '.join(MODELS)}.")
    return MODELS[name]
