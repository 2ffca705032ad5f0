"""The ADM UNet (Dhariwal & Nichol, 2021) as a plan of blocks and the module that follows it."""

import functools
from typing import Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from glide_jax.networks.blocks import (
    AttentionBlock,
    GroupNorm,
    ResBlock,
    conv3x3,
    depth_to_space,
    space_to_depth,
    timestep_embedding,
    upsample,
)
from glide_jax.networks.model_config import ModelConfig
from glide_jax.types import Image, Prediction, TextCond, Timestep


class Block(NamedTuple):
    """One entry of the plan; `name` is its place in the parameter tree."""

    name: str
    channels: int
    heads: int = 0  # 0: no attention after the residual block
    resample: Literal["up", "down"] | None = None  # a down block only halves, an up doubles after


def plan(config: ModelConfig) -> tuple[list[Block], list[Block], list[Block]]:
    """The blocks on the way down (after the stem), in the middle and on the way up."""
    widths = [mult * config.channels for mult in config.channel_mult]
    attends = [size in config.attention for size in config.level_sizes]
    last = len(widths) - 1
    heads_up = config.heads if config.heads_up == -1 else config.heads_up

    def heads(level: int, count: int) -> int:
        return count if config.head_channels == -1 else widths[level] // config.head_channels

    down: list[Block] = []
    for level, width in enumerate(widths):
        for _ in range(config.res_blocks):
            count = heads(level, config.heads) if attends[level] else 0
            down.append(Block(f"input_{len(down) + 1}", width, count))
        if level != last:
            down.append(Block(f"input_{len(down) + 1}", width, resample="down"))
    # The middle attends whatever the levels do.
    middle = [Block("middle_0", widths[-1], heads(last, config.heads))]
    middle.append(Block("middle_1", widths[-1]))
    up: list[Block] = []
    for level in range(last, -1, -1):
        for k in range(config.res_blocks + 1):
            count = heads(level, heads_up) if attends[level] else 0
            resample = "up" if level and k == config.res_blocks else None
            up.append(Block(f"output_{len(up)}", widths[level], count, resample))
    return down, middle, up


def inner_shape(config: ModelConfig, height: int, width: int) -> tuple[int, int, int]:
    """The shape of a picture's inner features, see `UNet`, as (h, w, c).

    Args:
        config: the network's.
        height: pixels of the picture.
        width: pixels of the picture.
    """
    mult = config.channel_mult[min(1, len(config.channel_mult) - 1)]
    return height // config.patch, width // config.patch, mult * config.channels


def attention_blocks(config: ModelConfig) -> list[Block]:
    """The blocks that attend, and so need the text's keys and values."""
    return [block for part in plan(config) for block in part if block.heads]


class UNet(nn.Module):
    """Image planes, time and text to eps and var_frac.

    Input planes (x_t first) may have any size that the downsamplings divide. With `patch` > 1
    the network works on patch x patch pixels at a time, which is how small models become cheap.
    With `remat` the backward pass computes the inside of each block again instead of keeping it:
    a third more work, and memory for the blocks' borders only. `kept` is for `diffusion.reuse`:
    with () the prediction holds the inner features, what the levels within the outermost one end
    in; with (features,) those take the place of these levels.
    """

    config: ModelConfig
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        planes: Image,
        t: Timestep,
        text: TextCond | None,
        guidance: Float[Array, " b"] | None = None,
        away: Float[Array, "b e"] | None = None,
        kept: tuple[Image, ...] | None = None,
        *,
        train: bool = False,
    ) -> Prediction:
        config = self.config
        down, middle, up = plan(config)
        outer = config.res_blocks  # blocks of the outermost level, on the way down
        emb = self._embed(t, text)
        if config.guidance:
            emb = emb + self._embed_guidance(jnp.ones(t.shape) if guidance is None else guidance)
        if config.away:
            emb = emb + self._embed_away(jnp.zeros_like(emb) if away is None else away)
        x = space_to_depth(planes, config.patch) if config.patch > 1 else planes
        h = conv3x3(config.channels, self.dtype, "input_0")(x.astype(self.dtype))
        skips = [h]
        for block in down[:outer]:
            h = self._block(block, h, emb, text, train)
            skips.append(h)
        if kept:
            [h] = kept
        else:
            inner: list[Image] = []
            for block in down[outer:]:
                h = self._block(block, h, emb, text, train)
                inner.append(h)
            for block in middle:
                h = self._block(block, h, emb, text, train)
            for block in up[: -(outer + 1)]:
                h = jnp.concatenate([h, inner.pop()], axis=-1)
                h = self._block(block, h, emb, text, train)
        features = () if kept is None else (h,)
        for block in up[-(outer + 1) :]:
            h = jnp.concatenate([h, skips.pop()], axis=-1)
            h = self._block(block, h, emb, text, train)

        # The head runs in float32: eps is what the sampler amplifies.
        h = nn.silu(GroupNorm(config.norm_groups, name="out_norm")(h.astype(jnp.float32)))
        out = conv3x3(6 * config.patch**2, jnp.float32, "out_conv", zero=True)(h)
        if config.patch > 1:
            out = depth_to_space(out + self._bypass(x, emb), config.patch)
        eps, var = jnp.split(out, 2, axis=-1)
        return Prediction(eps, (var + 1.0) / 2.0, kept=features)

    def _bypass(self, x: Image, emb: Array) -> Image:
        """A linear path from input to output, gained by time.

        A patch holds nearly as many numbers as the stem has channels, and copying noise through
        norms and nonlinearities is slow to learn; most of it is a linear filter of the input.
        """
        width = 6 * self.config.patch**2
        gain = nn.Dense(width, kernel_init=nn.initializers.zeros, name="bypass_gain")(nn.silu(emb))
        return conv3x3(width, jnp.float32, "bypass", zero=True)(x) * (1.0 + gain[:, None, None, :])

    def _embed(self, t: Timestep, text: TextCond | None) -> Float[Array, "b e"]:
        width = 4 * self.config.channels
        emb = timestep_embedding(t, self.config.channels)
        emb = nn.silu(nn.Dense(width, dtype=jnp.float32, name="time_in")(emb))
        emb = nn.Dense(width, dtype=jnp.float32, name="time_out")(emb)
        return emb if text is None else emb + text.pooled

    def _embed_guidance(self, scale: Float[Array, " b"]) -> Float[Array, "b e"]:
        """The scale, embedded as time is (Meng et al., 2022, section 3.1); 0 in a fresh one."""
        width, (low, high) = 4 * self.config.channels, self.config.guidance
        emb = timestep_embedding(1000.0 * (scale - low) / (high - low), self.config.channels)
        emb = nn.silu(nn.Dense(width, dtype=jnp.float32, name="guidance_in")(emb))
        zeros = nn.initializers.zeros
        return nn.Dense(width, dtype=jnp.float32, kernel_init=zeros, name="guidance_out")(emb)

    def _embed_away(self, away: Float[Array, "b e"]) -> Float[Array, "b e"]:
        """A prompt to keep away from; 0 in a fresh network, and where there is none."""
        dense = functools.partial(nn.Dense, away.shape[-1], use_bias=False, dtype=jnp.float32)
        zeros = nn.initializers.zeros
        return dense(kernel_init=zeros, name="away_out")(nn.silu(dense(name="away_in")(away)))

    def _block(self, block: Block, h: Image, emb: Array, text: TextCond | None, train: bool):
        # `train` decides what is computed, so it stays a Python value: argument 3, self included.
        res_block = nn.remat(ResBlock, static_argnums=3) if self.remat else ResBlock
        attention_block = nn.remat(AttentionBlock) if self.remat else AttentionBlock
        config, options = self.config, {"groups": self.config.norm_groups, "dtype": self.dtype}
        res = lambda name, resample=None: res_block(
            block.channels, resample, config.scale_shift, config.dropout, **options, name=name
        )
        if block.resample == "down":
            if config.resblock_updown:
                return res(f"{block.name}_res", "down")(h, emb, train)
            return conv3x3(block.channels, self.dtype, f"{block.name}_conv", stride=2)(h)
        h = res(f"{block.name}_res")(h, emb, train)
        if block.heads:
            keys_values = None if text is None else text.keys_values[block.name]
            attention = attention_block(block.heads, **options, name=f"{block.name}_attn")
            h = attention(h, keys_values)
        if block.resample == "up":
            if config.resblock_updown:
                return res(f"{block.name}_up", "up")(h, emb, train)
            h = conv3x3(block.channels, self.dtype, f"{block.name}_up")(upsample(h))
        return h
