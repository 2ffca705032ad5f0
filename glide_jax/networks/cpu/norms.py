"""GroupNorm, whose sums a CPU takes row by row, forward and in the gradient; elsewhere Flax's."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.networks.cpu.sums import Channels, Rows, over_positions
from glide_jax.types import Image

# PyTorch's epsilon, not Flax's 1e-6: the released weights were trained with it.
EPSILON = 1e-5


# Jitted to be traced once for each shape: a network has a hundred norms, and tracing each of them
# took most of a network's time of tracing.
@functools.partial(jax.jit, static_argnames="groups")
def group_norm(x: Image, scale: Channels, bias: Channels, groups: int) -> Image:
    """Each group of channels of each picture normalised to mean 0 and variance 1, then scaled.

    The variance is a mean of squared distances to the mean, in two passes: with a large mean the
    difference of two sums would lose it (an error of 8e-4 against 1e-5 at a mean of 30).

    Args:
        x: (b, h, w, c) float32, as is the result.
        scale: (c,).
        bias: (c,).
        groups: a divisor of c.
    """
    by_rows, usual = (functools.partial(f, groups=groups) for f in (_by_rows, _usual))
    return jax.lax.platform_dependent(x, scale, bias, cpu=by_rows, default=usual)


def _usual(x: Image, scale: Channels, bias: Channels, groups: int) -> Image:
    norm = nn.GroupNorm(groups, epsilon=EPSILON, use_fast_variance=False, parent=None)
    y: Any = norm.apply({"params": {"scale": scale, "bias": bias}}, x)
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _by_rows(x: Image, scale: Channels, bias: Channels, groups: int) -> Image:
    return _forward(x, scale, bias, groups)[0]


def _forward(x: Image, scale: Channels, bias: Channels, groups: int) -> tuple[Image, tuple]:
    [total] = over_positions(lambda x: [x], x)
    mean = _to_channels(_group_means(total, x, groups), total.shape[-1])
    [squares] = over_positions(lambda x: [jnp.square(x - mean[:, None])], x)
    inverse = jax.lax.rsqrt(_group_means(squares, x, groups) + EPSILON)
    inverse = _to_channels(inverse, total.shape[-1])
    y = (x - _pixels(mean)) * _pixels(inverse) * scale + bias
    return y, (x, scale, mean, inverse)


def _backward(groups: int, kept: tuple, dy: Image) -> tuple[Image, Channels, Channels]:
    x, scale, mean, inverse = kept
    straight, along = over_positions(lambda x, dy: [dy, dy * (x - mean[:, None])], x, dy)
    spread = lambda sums: _to_channels(_group_means(sums * scale, x, groups), x.shape[-1])
    pull = spread(along) * jnp.square(inverse)
    dx = dy * scale - _pixels(spread(straight)) - (x - _pixels(mean)) * _pixels(pull)
    dx = (dx * _pixels(inverse)).astype(x.dtype)  # the input may be narrower
    return dx, (along * inverse).sum(0), straight.sum(0)


_by_rows.defvjp(_forward, _backward)


def _group_means(sums: Rows, x: Image, groups: int) -> Float[Array, "b g"]:
    """Means over each group's channels and positions."""
    b, height, width, c = x.shape
    return sums.reshape(b, groups, -1).sum(-1) / (height * width * c // groups)


def _to_channels(values: Float[Array, "b g"], channels: int) -> Rows:
    """Each group's value at each of its channels.

    As a product, which XLA does not fuse: fused, the place in a group of every single number would
    be computed, and none of them together with its neighbours.
    """
    each = jnp.repeat(
        jnp.eye(values.shape[-1], dtype=values.dtype), channels // values.shape[-1], axis=1
    )
    return jnp.matmul(values, each, precision="highest")


def _pixels(rows: Rows) -> Float[Array, "b 1 1 c"]:
    return rows[:, None, None]
