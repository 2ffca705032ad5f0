"""Named sizes: the released family, the paper's, and small ones."""

import dataclasses
from dataclasses import dataclass

import jax.numpy as jnp
from jax.typing import DTypeLike

from glide_jax.errors import InputError
from glide_jax.networks import limits
from glide_jax.networks.clip import ClipImageEncoder, ClipModel, ClipTextEncoder
from glide_jax.networks.text import TextEncoder
from glide_jax.networks.text_unet import GlideModel, TextKeysValues
from glide_jax.networks.unet import UNet, UNetShape


@dataclass(frozen=True)
class ModelConfig:
    """All that decides a GLIDE network's parameters; the defaults are the released base's."""

    image_size: int = 64  # nominal; other sizes run as long as the downsamplings divide them
    channels: int = 192
    channel_mult: tuple[int, ...] = (1, 2, 3, 4)
    res_blocks: int = 3
    attention: tuple[int, ...] = (32, 16, 8)  # feature-map sizes in pixels at `image_size`
    head_channels: int = 64  # -1: use `heads`
    heads: int = 1
    heads_up: int = -1  # heads on the way up; -1: as on the way down
    scale_shift: bool = True
    resblock_updown: bool = True
    patch: int = 1  # pixels a side that the UNet treats as one
    norm_groups: int = 32  # of every GroupNorm; one a channel would take its level away
    dropout: float = 0.1
    text_width: int = 512  # 0: no text at all
    text_layers: int = 16
    text_heads: int = 8
    text_context: int = 128
    text_final_norm: bool = True
    text_padding: bool = True
    vocab_size: int = 50257
    upsampler: bool = False
    inpaint: bool = False

    def __post_init__(self):
        """Refuses what builds no network."""
        limits.check_glide(self)

    @property
    def planes(self) -> int:
        """Input channels: x_t, then known pixels and mask, then the low-res image."""
        return 3 + 4 * self.inpaint + 3 * self.upsampler

    @property
    def divisor(self) -> int:
        """Heights and widths must be multiples of this."""
        return self.patch * 2 ** (len(self.channel_mult) - 1)

    def unet_shape(self) -> UNetShape:
        """The plan of the UNet; attention goes by down-factor, never by actual size."""
        factors = [self.image_size // size for size in self.attention]
        levels = range(len(self.channel_mult))
        return UNetShape(
            channels=self.channels,
            channel_mult=tuple(self.channel_mult),
            res_blocks=self.res_blocks,
            attention_levels=tuple(l for l in levels if self.patch * 2**l in factors),
            head_channels=self.head_channels,
            heads=self.heads,
            heads_up=self.heads_up,
        )


@dataclass(frozen=True)
class ClipConfig:
    """All that decides a noise-aware CLIP's parameters; the defaults are the released one's."""

    image_size: int = 64
    patch: int = 4
    image_width: int = 768
    image_layers: int = 12
    image_heads: int = 12
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    text_context: int = 77
    vocab_size: int = 65536
    embedding_width: int = 512
    num_timesteps: int = 1000
    logit_scale: float = 100.0

    def __post_init__(self):
        """Refuses what builds no network."""
        limits.check_clip(self)


def glide_model(config: ModelConfig, dtype: DTypeLike = jnp.float32) -> GlideModel:
    """The network of a config, computing in `dtype` over float32 parameters."""
    shape = config.unet_shape()
    unet = UNet(
        shape=shape,
        scale_shift=config.scale_shift,
        resblock_updown=config.resblock_updown,
        patch=config.patch,
        dropout=config.dropout,
        groups=config.norm_groups,
        dtype=dtype,
    )
    if not config.text_width:
        return GlideModel(unet=unet, upsampler=config.upsampler, inpaint=config.inpaint)
    text = TextEncoder(
        vocab_size=config.vocab_size,
        width=config.text_width,
        layers=config.text_layers,
        heads=config.text_heads,
        context=config.text_context,
        pooled_width=4 * config.channels,
        final_norm=config.text_final_norm,
        padding=config.text_padding,
        dtype=dtype,
    )
    return GlideModel(
        unet=unet,
        text=text,
        keys_values=TextKeysValues(shape, dtype),
        upsampler=config.upsampler,
        inpaint=config.inpaint,
    )


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
