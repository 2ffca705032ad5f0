"""Building blocks of the networks. NHWC; parameters float32, compute in `dtype`."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from glide_jax.networks import ways
from glide_jax.networks.cpu.convolution import TransformedKernel, convolve3x3
from glide_jax.networks.cpu.norms import EPSILON, group_norm
from glide_jax.networks.cpu.sums import add_bias
from glide_jax.types import Image, Timestep

# Transformers over text start as quiet layers over loud embeddings (standard deviation 1). With
# embeddings of 0.02 under layers of unit gain the keys of two words still differed by a fifth only
# after 67,000 captions, where they now differ by more than their own length from the start.
quiet = nn.initializers.variance_scaling(0.25**2, "fan_in", "normal")


class GroupNorm(nn.Module):
    """GroupNorm, computed in float32 whatever the compute dtype."""

    groups: int = 32

    def __call__(self, x: Image) -> Image:
        scale, bias = self.scale_and_bias(x.shape[-1])
        wide = x if ways.now().norm == "dtype" else x.astype(jnp.float32)
        return group_norm(wide, scale, bias, self.groups).astype(x.dtype)

    @nn.compact
    def scale_and_bias(self, channels: int) -> tuple[Array, Array]:
        """Scale and bias, by themselves for `initial.initialiser`."""
        scale = self.param("scale", nn.initializers.ones, (channels,))
        return scale, self.param("bias", nn.initializers.zeros, (channels,))


def layer_norm(x: Float[Array, "... c"], name: str) -> Float[Array, "... c"]:
    """LayerNorm, computed in float32 whatever the compute dtype."""
    norm = nn.LayerNorm(EPSILON, use_fast_variance=False, dtype=jnp.float32, name=name)
    return norm(x).astype(x.dtype)


def gelu(x: Array) -> Array:
    """The exact GELU; JAX's default is the tanh approximation."""
    return nn.gelu(x, approximate=False)


def upsample(x: Image) -> Image:
    """Twice the size, by nearest neighbours."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def downsample(x: Image) -> Image:
    """Half the size, by means of 2 x 2 pixels."""
    return nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2))


def resize_bilinear(x: Image, height: int, width: int) -> Image:
    """Bilinear with half-pixel centres and no antialiasing, as PyTorch's interpolate.

    Args:
        x: (b, h, w, c).
        height: pixels of the result.
        width: pixels of the result.
    """
    shape = (x.shape[0], height, width, x.shape[3])
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def space_to_depth(x: Image, block: int) -> Image:
    """(b, h, w, c) to (b, h/block, w/block, block*block*c)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // block, block, w // block, block, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // block, w // block, block * block * c)


def depth_to_space(x: Image, block: int) -> Image:
    """The inverse of `space_to_depth`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, block, block, c // block**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * block, w * block, c // block**2)


def timestep_embedding(t: Timestep, width: int) -> Float[Array, "b {width}"]:
    """Sinusoids of t, cosines first (Vaswani et al., 2017); always float32.

    Frequencies fall from 1 to 1/10000 over width // 2 of them, the end excluded; an odd width is
    padded with a zero. A phase of 999 radians would be good to 6e-5 in float32. So whole turns are
    taken off first, of t times a frequency's leading 12 bits, a product that is exact for whole t
    up to 4095; sinusoids are good to 1e-6 then.
    """
    half = width // 2
    turns = np.exp(-math.log(10000) / half * np.arange(half)) / (2 * math.pi)  # float64
    mantissa, exponent = np.frexp(turns)
    leading = np.ldexp(np.round(mantissa * 2**12), exponent - 12)
    t = t.astype(jnp.float32)[:, None]
    product = t * jnp.float32(leading)
    phase = 2 * math.pi * (product - jnp.round(product) + t * jnp.float32(turns - leading))
    emb = jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)
    return jnp.pad(emb, ((0, 0), (0, width % 2)))


def attend(
    q: Float[Array, "b n heads d"],
    k: Float[Array, "b m heads d"],
    v: Float[Array, "b m heads d"],
    *,
    causal: bool = False,
) -> Float[Array, "b n e"]:
    """Softmax attention with a float32 softmax; heads are joined.

    Heads go in front of positions first, and the sum of weights is divided by last: this takes a
    CPU half the time of `jax.nn.dot_product_attention`, which in float16 also needs a product that
    only GPUs have.

    Args:
        q: queries, (b, n, heads, d).
        k: keys, (b, m, heads, d).
        v: values, (b, m, heads, d).
        causal: each query attends to its own position and those before it.
    """
    if (way := ways.now().attention) != "own":
        library: Any = {"jax": "xla", "cudnn": "cudnn"}[way]
        out = jax.nn.dot_product_attention(q, k, v, is_causal=causal, implementation=library)
        return out.reshape(*out.shape[:2], -1)
    q, k, v = q.swapaxes(1, 2), k.transpose(0, 2, 3, 1), v.swapaxes(1, 2)
    product = partial(jnp.matmul, preferred_element_type=jnp.float32)
    logits = product(q, k) / math.sqrt(q.shape[-1])
    if causal:
        logits = jnp.where(jnp.tri(*logits.shape[-2:], dtype=bool), logits, -jnp.inf)
    weight = jnp.exp(logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True)))
    out = product(weight.astype(v.dtype), v) / weight.sum(axis=-1, keepdims=True)
    out = out.astype(v.dtype).swapaxes(1, 2)
    return out.reshape(*out.shape[:2], -1)


class Conv3x3(nn.Module):
    """A 3 x 3 convolution padded by one pixel on every side."""

    channels: int
    dtype: DTypeLike = jnp.float32
    stride: int = 1
    kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Image) -> Image:
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        kernel = self.get_variable("params", "kernel")
        if not isinstance(kernel, TransformedKernel):  # `param` knows the plain shape alone
            kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1], self.channels))
        x, kernel, bias = jax.tree.map(lambda a: a.astype(self.dtype), (x, kernel, bias))
        return convolve3x3(x, kernel, bias, self.stride)


def conv3x3(channels: int, dtype: DTypeLike, name: str, *, stride: int = 1, zero: bool = False):
    """A `Conv3x3` layer.

    Args:
        channels: channels of the result.
        dtype: the compute dtype.
        name: its place in the parameter tree.
        stride: 1 or 2.
        zero: starts it at zero, so that a fresh residual branch adds nothing.
    """
    init = nn.initializers.zeros if zero else nn.initializers.lecun_normal()
    return Conv3x3(channels, dtype, stride, init, name=name)


class PatchConv(nn.Module):
    """A convolution whose windows of `patch` x `patch` pixels do not overlap: one matrix product.

    As a convolution its gradients would be slow inside a loop on a CPU, see `cpu.convolution`.
    """

    channels: int
    patch: int = 1
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Image) -> Image:
        x = space_to_depth(x, self.patch) if self.patch > 1 else x
        shape = (self.patch, self.patch, x.shape[-1] // self.patch**2, self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        y = x.astype(self.dtype) @ kernel.astype(self.dtype).reshape(-1, self.channels)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        return add_bias(y, bias.astype(self.dtype))


class ResBlock(nn.Module):
    """Residual block modulated by `emb` (time plus pooled text), optionally resampling by 2.

    With `scale_shift` the modulation is norm(h) * (1 + scale) + shift, else h + emb before the
    norm. The last convolution starts at zero: a fresh block is the identity, up to its skip
    projection (ADM, Dhariwal & Nichol, 2021, appendix A).
    """

    channels: int
    resample: Literal["up", "down"] | None = None
    scale_shift: bool = True
    dropout: float = 0.0
    groups: int = 32
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Image, emb: Float[Array, "b e"], train: bool = False) -> Image:
        norm = lambda name: GroupNorm(self.groups, name=name)
        h = nn.silu(norm("in_norm")(x))
        match self.resample:
            case "up":
                x, h = upsample(x), upsample(h)
            case "down":
                x, h = downsample(x), downsample(h)
        h = conv3x3(self.channels, self.dtype, "in_conv")(h)

        width = 2 * self.channels if self.scale_shift else self.channels
        emb = nn.Dense(width, dtype=jnp.float32, name="emb")(nn.silu(emb))
        emb = emb.astype(h.dtype)[:, None, None, :]
        if self.scale_shift:
            scale, shift = jnp.split(emb, 2, axis=-1)
            h = nn.silu(norm("out_norm")(h) * (1 + scale) + shift)
        else:
            h = nn.silu(norm("out_norm")(h + emb))

        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = conv3x3(self.channels, self.dtype, "out_conv", zero=True)(h)
        if x.shape[-1] != self.channels:
            x = PatchConv(self.channels, dtype=self.dtype, name="skip")(x)
        return x + h


class AttentionBlock(nn.Module):
    """Self-attention over pixels whose keys and values are preceded by the text's.

    The text's keys and values come from `TextKeysValues`, once per prompt (GLIDE, section 2.1).
    """

    heads: int
    groups: int = 32
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Image, text: Float[Array, "b n 2 heads d"] | None = None) -> Image:
        b, h, w, c = x.shape
        y = GroupNorm(self.groups, name="norm")(x).reshape(b, h * w, c)
        qkv = nn.Dense(3 * c, dtype=self.dtype, name="qkv")(y)
        # Heads outermost, then q, k, v: the order of the released weights.
        q, k, v = jnp.moveaxis(qkv.reshape(b, h * w, self.heads, 3, c // self.heads), 3, 0)
        if text is not None:
            k = jnp.concatenate([text[:, :, 0].astype(k.dtype), k], axis=1)
            v = jnp.concatenate([text[:, :, 1].astype(v.dtype), v], axis=1)
        out = nn.Dense(c, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="proj")
        return x + out(attend(q, k, v)).reshape(b, h, w, c)
