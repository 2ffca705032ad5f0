"""The 3 x 3 convolution of the networks: one function, which decides how it is computed.

A kernel that is a `TransformedKernel` is convolved by `winograd`: `choice.prepared` made it for
drawing. A plain kernel is convolved as the compiler does, with gradients that a CPU can afford.
XLA writes a convolution's gradients as convolutions with other orders of dimensions, and its CPU
backend rearranges those in a program's outermost computation alone. Inside a loop, such as a
sampler's or that over the parts of a batch, they were 8 to 400 times slower (jax issue 12868).
Where a plain convolution is differentiated and large, `winograd` saves multiplications as well.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.networks.cpu import winograd
from glide_jax.networks.cpu.sums import Channels, add_bias
from glide_jax.types import Image

# With fewer positions, transforming the kernel costs more than is saved; with fewer channels, the
# tiles cost more than their products save.
_MIN_POSITIONS = 1024
_MIN_CHANNELS = 64

_NHWC = ("NHWC", "HWIO", "NHWC")
Kernel = Float[Array, "3 3 i o"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TransformedKernel:
    """A kernel transformed for F(m, 3), in the place of the plain one in a tree of parameters.

    `tiles` is (m + 2, m + 2, i, o), an array or whatever JAX puts in the place of one.
    """

    tiles: Any
    m: int = dataclasses.field(metadata={"static": True})


def convolve3x3(
    x: Image, kernel: Kernel | TransformedKernel, bias: Channels, stride: int = 1
) -> Image:
    """The convolution of a picture padded by one pixel on every side, plus a bias.

    Args:
        x: (b, h, w, i); its dtype is also the kernel's and the bias's.
        kernel: plain or, for a stride of 1, transformed.
        bias: (o,).
        stride: 1 or 2.
    """
    if isinstance(kernel, TransformedKernel):
        assert stride == 1, "a convolution with a stride has no transform"
        return add_bias(winograd.convolve(x, kernel.tiles, kernel.m), bias)
    return add_bias(convolve(x, kernel, stride), bias)


@functools.partial(jax.jit, static_argnames="m")
def transform_kernel(kernel: Kernel, m: int) -> TransformedKernel:
    """A plain kernel transformed for F(m, 3)."""
    return TransformedKernel(winograd.transform(kernel, m), m)


def bare_kernels(params: Any) -> Any:
    """A tree of parameters as arrays alone: transformed kernels without their type."""
    is_transformed = lambda leaf: isinstance(leaf, TransformedKernel)
    bare = lambda leaf: leaf.tiles if is_transformed(leaf) else leaf
    return jax.tree.map(bare, params, is_leaf=is_transformed)


@functools.partial(jax.jit, static_argnames="stride")  # traced once a shape, as norms
def convolve(x: Image, kernel: Kernel, stride: int = 1) -> Image:
    """The convolution with a plain kernel, without a bias.

    Flax's "SAME" would pad a stride of 2 by (0, 1), PyTorch pads by (1, 1).

    Args:
        x: (b, h, w, i).
        kernel: (3, 3, i, o).
        stride: 1 or 2.
    """
    y: Any = _with_gradients(x, kernel, stride)
    return y


def _convolve(x: Image, kernel: Kernel, stride: int) -> Image:
    return _general(x, kernel, ((1, 1), (1, 1)), window_strides=(stride, stride))


def _general(x: Array, kernel: Array, padding, *, window_strides=(1, 1), **options) -> Array:
    return jax.lax.conv_general_dilated(
        x, kernel, window_strides, padding, dimension_numbers=_NHWC, **options
    )


def _forward(x: Image, kernel: Kernel, stride: int) -> tuple[Image, tuple[Image, Kernel]]:
    """The forward pass of what is differentiated, as in training."""
    usual = functools.partial(_convolve, stride=stride)
    by_tiles = lambda x, kernel: winograd.convolve(x, winograd.transform(kernel, 4), 4)
    on_cpu = by_tiles if _large(x, kernel, stride) else usual
    return jax.lax.platform_dependent(x, kernel, cpu=on_cpu, default=usual), (x, kernel)


def _large(x: Image, kernel: Kernel, stride: int) -> bool:
    """Whether fewer multiplications make up for transforming the kernel."""
    wide = min(kernel.shape[2:]) >= _MIN_CHANNELS and math.prod(x.shape[:3]) >= _MIN_POSITIONS
    return stride == 1 and wide and x.dtype == jnp.float32


def _backward(stride: int, kept: tuple[Image, Kernel], dy: Image) -> tuple[Image, Kernel]:
    # Other backends know the usual form, and have kernels of their own for it.
    same = functools.partial(_convolve, stride=stride)
    usual = lambda x, kernel, dy: jax.vjp(same, x, kernel)[1](dy)
    x, kernel = kept
    rearranged = functools.partial(_rearranged, stride=stride)
    on_cpu = _by_tiles if _large(x, kernel, stride) else rearranged
    return jax.lax.platform_dependent(x, kernel, dy, cpu=on_cpu, default=usual)


def _by_tiles(x: Image, kernel: Kernel, dy: Image) -> tuple[Image, Kernel]:
    """Both gradients by F(4, 3), whose error is that of rounding a few times over."""
    turned = winograd.transform(_turned(kernel), 4)
    return winograd.convolve(dy, turned, 4), winograd.kernel_gradient(x, dy, 4)


def _turned(kernel: Kernel) -> Float[Array, "3 3 o i"]:
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _rearranged(x: Image, kernel: Kernel, dy: Image, *, stride: int) -> tuple[Image, Kernel]:
    """Both gradients as convolutions of NHWC by HWIO."""
    # dy with stride - 1 zeros between its pixels reaches this far, of what x padded has.
    reach = [stride * (n - 1) + 1 for n in dy.shape[1:3]]
    padding = [(1, n + 1 - r) for n, r in zip(x.shape[1:3], reach, strict=True)]
    dx = _general(dy, _turned(kernel), padding, lhs_dilation=(stride, stride))
    # The batch is what the kernel's gradient is summed over, so it takes the channels' place.
    padding = [(1, r + 1 - n) for n, r in zip(x.shape[1:3], reach, strict=True)]
    rows, columns = x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)
    dk = _general(rows, columns, padding, rhs_dilation=(stride, stride))
    return dx, dk.transpose(1, 2, 0, 3)


_with_gradients = jax.custom_vjp(_convolve, nondiff_argnums=(2,))
_with_gradients.defvjp(_forward, _backward)
