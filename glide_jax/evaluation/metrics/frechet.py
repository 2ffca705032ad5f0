"""Fréchet distance between Gaussians fitted to two sets of features (Heusel et al., 2017)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from glide_jax.errors import InputError


class Moments(NamedTuple):
    """Mean and unbiased covariance of a set of features; the covariance of one vector is zero."""

    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]


def moments_of(features: Shaped[np.ndarray, "n d"]) -> Moments:
    """Mean and covariance of features, in float64.

    Raises:
        InputError: there are none, or some are not finite.
    """
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or not len(x):
        raise InputError(f"features have the shape {x.shape}; they must be (n, d) with n over 0.")
    if not np.isfinite(x).all():
        raise InputError("features hold numbers that are not finite; they must all be.")
    mean = x.mean(axis=0)
    centred = x - mean  # first, so that large means cancel nowhere
    return Moments(mean, centred.T @ centred / max(1, len(x) - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + Tr(C_a + C_b - 2 (C_a C_b)^(1/2)), the squared 2-Wasserstein distance.

    The last trace is the sum of the singular values of C_a^(1/2) C_b^(1/2). Both roots are of
    symmetric matrices, so nothing turns complex and no multiple of the identity has to be added
    where there are fewer vectors than dimensions, unlike with a general matrix root.

    Raises:
        InputError: the dimensions differ.
    """
    if a.mean.shape != b.mean.shape:
        raise InputError(f"features have {len(a.mean)} and {len(b.mean)} dimensions; not the same.")
    overlap = np.linalg.svd(_root(a.covariance) @ _root(b.covariance), compute_uv=False).sum()
    apart = a.mean - b.mean
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return float(apart @ apart + traces - 2 * overlap)


def _root(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
