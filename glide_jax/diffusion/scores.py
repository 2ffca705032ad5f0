"""Scores: gradients of log-probabilities in x_t, by which a classifier such as CLIP guides."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from glide_jax.diffusion.constraints import clip
from glide_jax.diffusion.grids import LAMBDA_MIN
from glide_jax.diffusion.samplers import predict_x_0
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import Denoiser, Image, Scalar, Score, Timestep, X0Fn

# Evenly spaced chains double alpha at most where lambda is safe, and 10 steps on the grid logsnr
# treble it; the grid uniform begins with one of 6 times in 50 steps and of 29 times in 10.
MOST_GROWTH = 4.0


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


def limited(score: Score, guides_at: Callable[[Timestep], Bool[Array, " b"]]) -> Score:
    """A score that is 0, and is not evaluated, where `guides_at` is false of the batch's timestep.

    As with `guidance.limited` the whole batch is at one timestep.
    """
    return lambda x_t, t: jax.lax.cond(
        guides_at(t)[0], score, lambda x_t, t: jnp.zeros_like(x_t), x_t, t
    )


def between(score: Score, low: Scalar, high: Scalar) -> Score:
    """A score that guides in an interval of timesteps alone, as `guidance.limited`.

    Args:
        score: within low <= t <= high; elsewhere it is 0.
        low: a timestep, cleaner.
        high: a timestep, noisier.
    """
    return limited(score, lambda t: (low <= t) & (t <= high))


def where_sound(score: Score, schedule: Schedule) -> Score:
    """A score for samplers whose eps it shifts: 0 where that would carry x_t away.

    The shift moves x_{t-1} by alpha_prev / alpha sigma^2 score. A true score is as small as alpha
    at the noisy end; that of a classifier that was learned is not. So none is taken where lambda
    is below LAMBDA_MIN (a first step from the cosine schedule's last timestep magnifies it up to
    1,300 times), nor where alpha grows more than MOST_GROWTH times in one step.
    """

    def sound(t: Timestep) -> Bool[Array, " b"]:
        s = schedule.at_timestep(t)
        safe = s.sqrt_recipm1_alpha_bar <= math.exp(-LAMBDA_MIN)  # sigma / alpha
        return (safe & (s.sqrt_alpha_bar_prev <= MOST_GROWTH * s.sqrt_alpha_bar))[:, 0, 0, 0]

    return limited(score, sound)
