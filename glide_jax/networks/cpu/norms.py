"""GroupNorm whose sums a CPU takes row by row, forward and in the gradient; elsewhere Flax's."""

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


class GroupNorm(nn.Module):
    """Normalises each group of channels of each picture; float32 in and out.

    While parameters are made nothing is normalised.
    """

    groups: int = 32

    @nn.compact
    def __call__(self, x: Image) -> Image:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        if self.is_initializing():
            return x  # nobody looks at it, and its arithmetic is half of what there is to trace
        return normalise(x, scale, bias, self.groups)


# Traced once for each shape: a network has a hundred, and tracing them was most of a network's.
@functools.partial(jax.jit, static_argnames="groups")
def normalise(x: Image, scale: Channels, bias: Channels, groups: int) -> Image:
    """The norm as a function, (b, h, w, c) float32 to the same.

    The variance is of distances to the mean, in two passes: with a large mean the difference of
    two sums would lose it (an error of 8e-4 against 1e-5 at a mean of 30).
    """
    with_groups = lambda function: functools.partial(function, groups=groups)
    return jax.lax.platform_dependent(
        x, scale, bias, cpu=with_groups(_by_rows), default=with_groups(_usual)
    )


def _usual(x: Image, scale: Channels, bias: Channels, groups: int) -> Image:
    norm = nn.GroupNorm(groups, epsilon=EPSILON, use_fast_variance=False, parent=None)
    y: Any = norm.apply({"params": {"scale": scale, "bias": bias}}, x)
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _by_rows(x: Image, scale: Channels, bias: Channels, groups: int) -> Image:
    return _forward(x, scale, bias, groups)[0]


def _forward(x: Image, scale: Channels, bias: Channels, groups: int) -> tuple[Image, tuple]:
    [total] = over_positions(lambda x: [x], x)
    mean = _to_channels(_of_groups(total, x, groups), total.shape[-1])
    [squares] = over_positions(lambda x: [jnp.square(x - mean[:, None])], x)
    inverse = jax.lax.rsqrt(_of_groups(squares, x, groups) + EPSILON)
    inverse = _to_channels(inverse, total.shape[-1])
    y = (x - _pixels(mean)) * _pixels(inverse) * scale + bias
    return y, (x, scale, mean, inverse)


def _backward(groups: int, kept: tuple, dy: Image) -> tuple[Image, Channels, Channels]:
    x, scale, mean, inverse = kept
    straight, along = over_positions(lambda x, dy: [dy, dy * (x - mean[:, None])], x, dy)
    spread = lambda sums: _to_channels(_of_groups(sums * scale, x, groups), x.shape[-1])
    pull = spread(along) * jnp.square(inverse)
    dx = dy * scale - _pixels(spread(straight)) - (x - _pixels(mean)) * _pixels(pull)
    return dx * _pixels(inverse), (along * inverse).sum(0), straight.sum(0)


_by_rows.defvjp(_forward, _backward)


def _of_groups(sums: Rows, x: Image, groups: int) -> Float[Array, "b g"]:
    """Means over each group's channels and positions."""
    b, height, width, c = x.shape
    return sums.reshape(b, groups, -1).sum(-1) / (height * width * c // groups)


def _to_channels(values: Float[Array, "b g"], channels: int) -> Rows:
    """Each group's value at each of its channels.

    As a product, which XLA does not fuse: fused, the place in a group of every single number would
    be computed, and none of them together with its neighbours.
    """
    each = jnp.repeat(jnp.eye(values.shape[-1]), channels // values.shape[-1], axis=1)
    return jnp.matmul(values, each, precision="highest")


def _pixels(rows: Rows) -> Float[Array, "b 1 1 c"]:
    return rows[:, None, None]
