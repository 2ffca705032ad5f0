"""3 x 3 convolutions by fewer multiplications (Winograd, 1980; Lavin & Gray, 2016).

F(m, 3) makes m x m outputs from (m + 2) x (m + 2) inputs with (m + 2)^2 multiplications a channel
instead of 9 m^2: 2.25 times fewer for m = 2, 4 times fewer for m = 4. This file is the arithmetic
alone; `convolution` and `choice` decide where it is used.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from glide_jax.types import Image

# Points where polynomials are evaluated, besides infinity; symmetric ones with products of 1 keep
# the transforms' entries small. For m = 4 the largest error is a quarter of that with the usual
# 0, 1, -1, 2, -2 (1.1e-5 against 3.8e-5, 192 channels of unit variance, float32).
_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, *(s * math.sqrt(p) for p in (0.5, 2.0) for s in (1, -1)))}
TILES = tuple(_POINTS)


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
    """The tiles of a kernel that `convolve` takes, columns first, n = m + 2."""
    both = jnp.asarray(_both(m), kernel.dtype)
    out = jnp.matmul(both, kernel.reshape(9, -1), precision="highest")
    return out.reshape(m + 2, m + 2, *kernel.shape[2:])


def _both(m: int) -> np.ndarray:
    """The transform of rows and columns of a kernel as one matrix, columns first."""
    g = matrices(m)[1]
    return np.einsum("ak,bl->bakl", g, g).reshape(-1, 9)


def convolve(x: Image, kernel: Float[Array, "n n i o"], m: int) -> Image:
    """The convolution of a picture padded by one pixel, of any height and width.

    Args:
        x: (b, h, w, i).
        kernel: from `transform`, with n = m + 2.
        m: outputs a side of each tile, one of TILES.
    """
    n, _, c, width = kernel.shape
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
        x: the convolution's input, (b, h, w, i).
        dy: the gradient of its result, (b, h, w, o).
        m: outputs a side of each tile, one of TILES.
    """
    counts, (c, width) = _counts(x, m), (x.shape[-1], dy.shape[-1])
    ragged = [(0, m * n - side) for n, side in zip(counts, dy.shape[1:3], strict=True)]
    dy = jnp.pad(dy, ((0, 0), *ragged, (0, 0)))
    tiles = _transformed(dy, matrices(m)[2].T, m, counts)
    products = jnp.matmul(_inputs(x, m).swapaxes(1, 2), tiles).reshape(-1, c * width)
    both = jnp.asarray(_both(m).T, products.dtype)
    return jnp.matmul(both, products, precision="highest").reshape(3, 3, c, width)


def _counts(x: Image, m: int) -> list[int]:
    """How many tiles of m x m pixels cover a picture, down and across."""
    return [-(-side // m) for side in x.shape[1:3]]


def _inputs(x: Image, m: int) -> Float[Array, "nn tiles c"]:
    """Overlapping tiles of a picture, transformed; columns first."""
    counts = _counts(x, m)
    pads = [(1, 1 + m * n - side) for n, side in zip(counts, x.shape[1:3], strict=True)]
    with jax.named_scope("to_tiles"):  # a profile shows this name
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
    """The matrix product over a list, without the terms that are multiplied by zero."""
    total = []
    for row in matrix:
        terms = [
            part if factor == 1 else part * np.asarray(factor, part.dtype)
            for factor, part in zip(row, parts, strict=True)
            if factor
        ]
        total.append(functools.reduce(jnp.add, terms))
    return total
