"""The ADM UNet (Dhariwal & Nichol, 2021) as a plan of blocks and the module that follows it."""

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
from glide_jax.types import Image, Prediction, TextCond, Timestep


class Block(NamedTuple):
    """One entry of the plan; `name` is its place in the parameter tree."""

    name: str
    channels: int
    heads: int = 0  # 0: no attention after the residual block
    resample: Literal["up", "down"] | None = None  # a down block only halves, an up doubles after
    pops_skip: bool = False


class UNetShape(NamedTuple):
    """What decides the blocks of a UNet; see `zoo.ModelConfig` for the meaning of each."""

    channels: int
    channel_mult: tuple[int, ...]
    res_blocks: int
    attention_levels: tuple[int, ...]
    head_channels: int
    heads: int = 1
    heads_up: int = -1

    def plan(self) -> tuple[list[Block], list[Block], list[Block]]:
        """The blocks on the way down (after the stem), in the middle and on the way up."""
        levels = range(len(self.channel_mult))
        width = [m * self.channels for m in self.channel_mult]
        down: list[Block] = []
        for level in levels:
            for _ in range(self.res_blocks):
                heads = self._heads(level, width[level])
                down.append(Block(f"input_{len(down) + 1}", width[level], heads))
            if level != levels[-1]:
                down.append(Block(f"input_{len(down) + 1}", width[level], resample="down"))
        # The middle attends whatever the list of levels says.
        heads = self._count(width[-1], self.heads)
        middle = [Block("middle_0", width[-1], heads), Block("middle_1", width[-1])]
        up: list[Block] = []
        for level in reversed(levels):
            for k in range(self.res_blocks + 1):
                heads = self._heads(level, width[level], up=True)
                resample = "up" if level and k == self.res_blocks else None
                up.append(Block(f"output_{len(up)}", width[level], heads, resample, pops_skip=True))
        return down, middle, up

    def attention(self) -> list[Block]:
        """The blocks that attend, and so need text keys and values."""
        return [block for part in self.plan() for block in part if block.heads]

    def _heads(self, level: int, width: int, *, up: bool = False) -> int:
        if level not in self.attention_levels:
            return 0
        return self._count(width, self.heads_up if up and self.heads_up != -1 else self.heads)

    def _count(self, width: int, heads: int) -> int:
        return heads if self.head_channels == -1 else width // self.head_channels


class UNet(nn.Module):
    """Image planes, time and text to eps and var_frac.

    Input planes (x_t first) may have any size that the downsamplings divide. With `patch` > 1
    the network works on patch x patch pixels at a time, which is how small models become cheap.
    With `remat` the backward pass computes the inside of each block again instead of keeping it:
    a third more work, and memory for the blocks' borders only.
    """

    shape: UNetShape
    scale_shift: bool = True
    resblock_updown: bool = True
    patch: int = 1
    dropout: float = 0.0
    groups: int = 32
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self, planes: Image, t: Timestep, text: TextCond | None, *, train: bool = False
    ) -> Prediction:
        down, middle, up = self.shape.plan()
        emb = self._embed(t, text)
        x = space_to_depth(planes, self.patch) if self.patch > 1 else planes
        h = conv3x3(self.shape.channels, self.dtype, "input_0")(x.astype(self.dtype))
        skips = [h]
        for block in down:
            h = self._block(block, h, emb, text, train)
            skips.append(h)
        for block in middle:
            h = self._block(block, h, emb, text, train)
        for block in up:
            h = jnp.concatenate([h, skips.pop()], axis=-1)
            h = self._block(block, h, emb, text, train)

        # The head runs in float32: eps is what the sampler amplifies.
        h = nn.silu(GroupNorm(self.groups, name="out_norm")(h.astype(jnp.float32)))
        out = conv3x3(6 * self.patch**2, jnp.float32, "out_conv", zero=True)(h)
        if self.patch > 1:
            out = depth_to_space(out + self._bypass(x, emb), self.patch)
        eps, var = jnp.split(out, 2, axis=-1)
        return Prediction(eps, (var + 1.0) / 2.0)

    def _bypass(self, x: Image, emb: Array) -> Image:
        """A linear path from input to output, gained by time.

        A patch holds nearly as many numbers as the stem has channels, and copying noise through
        norms and nonlinearities is slow to learn; most of it is a linear filter of the input.
        """
        width = 6 * self.patch**2
        gain = nn.Dense(width, kernel_init=nn.initializers.zeros, name="bypass_gain")(nn.silu(emb))
        return conv3x3(width, jnp.float32, "bypass", zero=True)(x) * (1.0 + gain[:, None, None, :])

    def _embed(self, t: Timestep, text: TextCond | None) -> Float[Array, "b e"]:
        width = 4 * self.shape.channels
        emb = timestep_embedding(t, self.shape.channels)
        emb = nn.silu(nn.Dense(width, dtype=jnp.float32, name="time_in")(emb))
        emb = nn.Dense(width, dtype=jnp.float32, name="time_out")(emb)
        return emb if text is None else emb + text.pooled

    def _block(self, block: Block, h: Image, emb: Array, text: TextCond | None, train: bool):
        # `train` decides what is computed, so it stays a Python value: argument 3, self included.
        res_block = nn.remat(ResBlock, static_argnums=3) if self.remat else ResBlock
        attention_block = nn.remat(AttentionBlock) if self.remat else AttentionBlock
        options = {"groups": self.groups, "dtype": self.dtype}
        res = lambda name, resample=None: res_block(
            block.channels, resample, self.scale_shift, self.dropout, **options, name=name
        )
        if block.resample == "down":
            if self.resblock_updown:
                return res(f"{block.name}_res", "down")(h, emb, train)
            return conv3x3(block.channels, self.dtype, f"{block.name}_conv", stride=2)(h)
        h = res(f"{block.name}_res")(h, emb, train)
        if block.heads:
            keys_values = None if text is None else text.keys_values[block.name]
            attention = attention_block(block.heads, **options, name=f"{block.name}_attn")
            h = attention(h, keys_values)
        if block.resample == "up":
            if self.resblock_updown:
                return res(f"{block.name}_up", "up")(h, emb, train)
            h = conv3x3(block.channels, self.dtype, f"{block.name}_up")(upsample(h))
        return h
