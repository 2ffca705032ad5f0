"""Guidance as functions from networks to denoisers and from classifiers to scores."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.types import Cond, Denoiser, Image, Network, Prediction, Scalar, Score, Timestep


def conditional(network: Network, cond: Cond) -> Denoiser:
    """No guidance: the network with its condition bound."""
    return lambda x_t, t: network(x_t, t, cond)


def interleave(a: Array, b: Array) -> Array:
    """Rows a0 b0 a1 b1 ...: a pair stays on its device when the batch is sharded."""
    return jnp.stack([a, b], axis=1).reshape(-1, *a.shape[1:])


def classifier_free(network: Network, cond: Cond, null: Cond, scale: Scalar) -> Denoiser:
    """Pushes eps away from the null condition, towards `cond` (GLIDE, eq. 10).

    Both halves run as one batch of 2b. The combination is made in eps space: in x_0 space the
    difference cancels where 1/sqrt(alpha_bar) is 2e4. The variance stays conditional, as in
    the reference.

    Args:
        network: takes x_t, t and a condition.
        cond: the prompt's condition, leading axis b.
        null: the same with an empty prompt, leading axis b.
        scale: 1 is no guidance; GLIDE uses 3. May be traced, and may be (b, 1, 1, 1).
    """
    both = jax.tree.map(interleave, cond, null)

    def denoise(x_t: Image, t: Timestep) -> Prediction:
        out = network(interleave(x_t, x_t), interleave(t, t), both)
        eps, eps_null = out.eps[0::2], out.eps[1::2]
        return Prediction(eps_null + scale * (eps - eps_null), out.var_frac[0::2])

    return denoise


def classifier(log_prob: Callable[[Image, Timestep], Float[Array, " b"]], scale: Scalar) -> Score:
    """Score of a noise-aware classifier such as CLIP (Dhariwal & Nichol, 2021; GLIDE, eq. 12)."""
    return jax.grad(lambda x_t, t: scale * log_prob(x_t, t).sum())
