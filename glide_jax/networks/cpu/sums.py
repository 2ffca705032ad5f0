"""Sums over an image's positions, which a CPU takes row by row.

XLA's CPU backend sums over positions in windows, several times slower than rows are added to one
another in a loop.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.types import Image

Channels = Float[Array, "c"]
Rows = Float[Array, "b c"]


def over_positions(terms: Callable[..., list[Array]], *images: Image) -> list[Rows]:
    """Sums over all positions of the results of `terms` on the images' rows, each (b, w, c)."""

    def add(i: Array, totals: list[Array]) -> list[Array]:
        rows = (jax.lax.dynamic_index_in_dim(x, i, axis=1, keepdims=False) for x in images)
        return [total + term for total, term in zip(totals, terms(*rows), strict=True)]

    like = jax.eval_shape(terms, *(x[:, 0] for x in images))
    zeros = [jnp.zeros(x.shape, x.dtype) for x in like]
    totals: Any = jax.lax.fori_loop(0, images[0].shape[1], add, zeros)
    return [total.sum(1) for total in totals]


@jax.jit  # traced once a shape, as norms
def add_bias(x: Image, bias: Channels) -> Image:
    """`x + bias`, (b, h, w, c) and (c,) of one dtype, whose gradient in `bias` is such a sum."""
    y: Any = _added(x, bias)
    return y


@jax.custom_vjp
def _added(x: Image, bias: Channels) -> Image:
    return x + bias


def _backward(_: None, dy: Image) -> tuple[Image, Channels]:
    usual = lambda dy: dy.sum((0, 1, 2))
    wide = jnp.promote_types(dy.dtype, jnp.float32)  # what `sum` adds up in by itself
    rows = lambda dy: over_positions(lambda row: [row.astype(wide)], dy)[0]
    by_rows = lambda dy: rows(dy).sum(0).astype(dy.dtype)
    return dy, jax.lax.platform_dependent(dy, cpu=by_rows, default=usual)


_added.defvjp(lambda x, bias: (x + bias, None), _backward)
