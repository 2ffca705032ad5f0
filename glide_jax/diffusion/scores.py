"""Scores: gradients of log-probabilities in x_t, by which a classifier such as CLIP guides."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from glide_jax.diffusion.constraints import clip
from glide_jax.diffusion.samplers import predict_x_0
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import Denoiser, Image, Scalar, Score, Timestep, X0Fn


def classifier(log_prob: Callable[[Image, Timestep], Float[Array, " b"]], scale: Scalar) -> Score:
    """Score of a noise-aware classifier such as CLIP (Dhariwal & Nichol, 2021; GLIDE, eq. 12)."""
    return jax.grad(lambda x_t, t: scale * log_prob(x_t, t).sum())


def through_x_0(
    log_prob: Callable[[Image], Float[Array, " b"]],
    scale: Scalar,
    denoise: Denoiser,
    schedule: Schedule,
    x0_fn: X0Fn = clip,
) -> Score:
    """Score of a classifier of clean images, by way of the predicted x_0 (GLIDE, section 4.2).

    The gradient passes through the network, which costs about two more evaluations. Where `x0_fn`
    clips a pixel no gradient passes: at the noisy end it would be 2e4 times too large.

    Args:
        log_prob: log p(y | x_0) of clean pictures, (b,).
        scale: the gradient's factor.
        denoise: predicts eps, of which x_0 is made.
        schedule: the chain's.
        x0_fn: the constraint on x_0.
    """

    def of_noisy(x_t: Image, t: Timestep) -> Float[Array, " b"]:
        eps = denoise(x_t, t).eps
        return log_prob(x0_fn(predict_x_0(schedule.at_timestep(t), x_t, eps)))

    return classifier(of_noisy, scale)


def both(*scores: Score) -> Score | None:
    """The sum of scores, or None if there are none."""
    if not scores:
        return None
    return lambda x_t, t: sum((score(x_t, t) for score in scores[1:]), scores[0](x_t, t))
