"""3 x 3 convolutions by fewer multiplications (Winograd, 1980; Lavin & Gray, 2016).

F(m, 3) makes m x m outputs of (m + 2) x (m + 2) inputs with (m + 2)^2 multiplications a channel
instead of 9 m^2: 2.25 times fewer for m = 2, 4 times fewer for m = 4. For drawing, kernels are
transformed once, by `prepare`, to the shape (m + 2, m + 2, i, o), which is how a convolution knows
them; training is on plain kernels, which `direct` transforms at every step where it sees a gain.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from glide_jax.types import Image, Params

# Points where polynomials are evaluated, besides infinity; symmetric ones with products of 1 keep
# the transforms' entries small. For m = 4 the largest error is a quarter of that with the usual
# 0, 1, -1, 2, -2 (1.1e-5 against 3.8e-5, 192 channels of unit variance, float32).
_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, *(s * math.sqrt(p) for p in (0.5, 2.0) for s in (1, -1)))}
TILES = tuple(_POINTS)
# Tiles win from 64 channels on, but a network so narrow draws before its plan would be made.
MIN_CHANNELS = 192
# With fewer positions than this, products are bound by reading kernels, which m = 4 makes larger.
MIN_SIDE_4 = 16


@functools.cache
def matrices(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The transforms of inputs, kernels and outputs, float64: B^T, G and A^T of Lavin & Gray.

    Toom-Cook: a kernel and a row of outputs are polynomials, evaluated at m + 1 points and at
    infinity; the input's transform is the transpose of interpolation.
    """
    points, infinity = np.array(_POINTS[m]), lambda width: np.eye(width)[-1:]
    at = lambda width: np.concatenate([np.vander(points, width, increasing=True), infinity(width)])
    interpolate = np.linalg.inv(at(m + 2)).T
    interpolate[abs(interpolate) < 1e-12] = 0.0
    return interpolate, at(3), at(m).T


def transform(kernel: Float[Array, "3 3 i o"], m: int) -> Float[Array, "n n i o"]:
    """A kernel as `convolve` takes it, columns first, n = m + 2."""
    both = jnp.asarray(_both(m), kernel.dtype)
    out = jnp.matmul(both, kernel.reshape(9, -1), precision="highest")
    return out.reshape(m + 2, m + 2, *kernel.shape[2:])


def _both(m: int) -> np.ndarray:
    """The transform of rows and columns of a kernel as one matrix, columns first."""
    g = matrices(m)[1]
    return np.einsum("ak,bl->bakl", g, g).reshape(-1, 9)


def convolve(x: Image, kernel: Float[Array, "n n i o"]) -> Image:
    """The convolution with a transformed kernel, padded by one pixel; any height and width."""
    n, _, c, width = kernel.shape
    m = n - 2
    from_tiles = matrices(m)[2]
    b, height, wide, _ = x.shape
    rows, columns = _counts(x, m)
    tiles = _inputs(x, m)
    # One product over all of a tile's positions: a slice of a kernel would be a copy of it.
    with jax.named_scope("products"):
        products = jnp.matmul(tiles, kernel.reshape(n * n, c, width))
        products = products.reshape(n, n, b, rows, columns, width)
    with jax.named_scope("from_tiles"):
        by_column = _combine(from_tiles, list(products))
        out = [_combine(from_tiles, list(a)) for a in by_column]  # [column][row] of a tile
        out = jnp.stack([jnp.stack(column, axis=2) for column in out], axis=4)
        out = out.reshape(b, rows * m, columns * m, width)
        return out[:, :height, :wide]


def kernel_gradient(x: Image, dy: Image, m: int) -> Float[Array, "3 3 i o"]:
    """The gradient of a plain kernel, F(m, 3)'s transforms read backwards.

    Args:
        x: what was convolved.
        dy: the gradient of the result.
        m: of F(m, 3).
    """
    counts, (c, width) = _counts(x, m), (x.shape[-1], dy.shape[-1])
    ragged = [(0, m * n - side) for n, side in zip(counts, dy.shape[1:3], strict=True)]
    dy = jnp.pad(dy, ((0, 0), *ragged, (0, 0)))
    tiles = _transformed(dy, matrices(m)[2].T, m, counts)
    found = jnp.matmul(_inputs(x, m).swapaxes(1, 2), tiles).reshape(-1, c * width)
    both = jnp.asarray(_both(m).T, found.dtype)
    return jnp.matmul(both, found, precision="highest").reshape(3, 3, c, width)


def _counts(x: Image, m: int) -> list[int]:
    """How many tiles of m x m pixels cover a picture, down and across."""
    return [-(-side // m) for side in x.shape[1:3]]


def _inputs(x: Image, m: int) -> Float[Array, "nn tiles c"]:
    """Overlapping tiles of a picture, transformed; columns first."""
    counts = _counts(x, m)
    pads = [(1, 1 + m * n - side) for n, side in zip(counts, x.shape[1:3], strict=True)]
    with jax.named_scope("to_tiles"):  # which a profile shows
        return _transformed(jnp.pad(x, ((0, 0), *pads, (0, 0))), matrices(m)[0], m, counts)


def _transformed(
    x: Image, matrix: np.ndarray, m: int, counts: list[int]
) -> Float[Array, "nn tiles c"]:
    """Tiles that begin every m pixels, rows and columns of each times a matrix."""
    (n, reach), (rows, columns) = matrix.shape, counts
    part = lambda a, k, axis, count: jax.lax.slice_in_dim(a, k, k + m * (count - 1) + 1, m, axis)
    by_row = jnp.stack(_combine(matrix, [part(x, k, 1, rows) for k in range(reach)]))
    tiles = _combine(matrix, [part(by_row, k, 3, columns) for k in range(reach)])
    return jnp.concatenate(tiles).reshape(n * n, x.shape[0] * rows * columns, x.shape[-1])


def _combine(matrix: np.ndarray, parts: list[Array]) -> list[Array]:
    """The matrix product over a list, without what is multiplied by zero."""
    total = []
    for row in matrix:
        terms = [
            part if factor == 1 else part * np.asarray(factor, part.dtype)
            for factor, part in zip(row, parts, strict=True)
            if factor
        ]
        total.append(functools.reduce(jnp.add, terms))
    return total


def prepare(params: Params, tiles: Mapping[tuple[str, ...], int]) -> Params:
    """Parameters with the kernels of the modules at these paths transformed for F(m, 3).

    Args:
        params: nested dicts; those that change are made anew, and nothing is changed in place.
        tiles: m of each module.
    """

    def walk(tree: Any, path: tuple[str, ...]) -> Any:
        if path in tiles:
            return {**tree, "kernel": _transform(tree["kernel"], m=tiles[path])}
        if not isinstance(tree, Mapping):
            return tree
        return {name: walk(branch, (*path, name)) for name, branch in tree.items()}

    return walk(params, ())


_transform = jax.jit(transform, static_argnames="m")
