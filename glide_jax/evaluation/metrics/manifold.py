"""Improved precision and recall (Kynkäänniemi et al., 2019), and nearest neighbours."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from glide_jax import checks
from glide_jax.errors import InputError

_BLOCK = 1 << 25  # distances held at once: 256 MB


class PrecisionRecall(NamedTuple):
    """The share of generated pictures that are like real ones, and the reverse."""

    precision: float
    recall: float


def precision_recall(
    real: Shaped[np.ndarray, "n d"], generated: Shaped[np.ndarray, "m d"], *, k: int = 3
) -> PrecisionRecall:
    """How much of each set lies in the balls around the other's vectors.

    A ball reaches to its centre's k-th nearest neighbour in its own set. Both numbers depend on
    how many vectors there are: compare only sets of equal sizes.

    Args:
        real: features of real pictures.
        generated: features of generated pictures.
        k: rank of the neighbour that sets a ball's radius, 1 to 1000.

    Raises:
        InputError: a set has k vectors or fewer.
    """
    checks.whole("k", k, 1, 1000)
    if min(len(real), len(generated)) <= k:
        raise InputError(
            f"precision and recall with k = {k} need {k + 1} pictures on each side, "
            f"not {len(real)} and {len(generated)}."
        )
    x, y = _centred(real, generated)
    return PrecisionRecall(
        precision=float(_covered(y, x, _radii(x, k)).mean()),
        recall=float(_covered(x, y, _radii(y, k)).mean()),
    )


def nearest_neighbours(
    queries: Shaped[np.ndarray, "n d"], among: Shaped[np.ndarray, "m d"], *, k: int = 1
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """The k nearest vectors of each query and their Euclidean distances, nearest first.

    Args:
        queries: vectors whose neighbours are wanted.
        among: vectors that may be neighbours.
        k: neighbours of each query, 1 to m.

    Raises:
        InputError: there are fewer than k to choose from.
    """
    if not 1 <= k <= len(among):
        raise InputError(f"k is {k}; among {len(among)} vectors it must be 1 to {len(among)}.")
    x, y = _centred(queries, among)
    indices = np.empty((len(x), k), np.int64)
    distances = np.empty((len(x), k))
    for rows, d in _squared_distances(x, y):
        some = np.argpartition(d, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(d, some, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        indices[rows] = np.take_along_axis(some, order, axis=1)
        distances[rows] = np.sqrt(np.take_along_axis(values, order, axis=1))
    return indices, distances


def _centred(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64, with a common mean taken off: |x|^2 + |y|^2 - 2 x.y then cancels less."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mean = x.mean(axis=0)
    return x - mean, y - mean


def _squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Row blocks of all squared distances, each as large as memory should bear."""
    rows = max(1, _BLOCK // len(y))
    norms = (y**2).sum(axis=1)
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        d = (block**2).sum(axis=1)[:, None] + norms - 2 * block @ y.T
        yield slice(start, start + len(block)), d.clip(min=0)


def _radii(x: np.ndarray, k: int) -> Float[np.ndarray, " n"]:
    """Squared distance to the k-th nearest other vector; equal vectors are others."""
    radii = np.empty(len(x))
    for rows, d in _squared_distances(x, x):
        d[np.arange(len(d)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(d, k - 1, axis=1)[:, k - 1]
    return radii


def _covered(x: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """A mask of x inside any ball; the surface counts as inside, with room for rounding."""
    room = 1e-9 * max(1e-300, float((centres**2).sum(axis=1).mean()))
    inside = [(d <= radii + room).any(axis=1) for _, d in _squared_distances(x, centres)]
    return np.concatenate(inside)
