"""Reverse processes: a step maps (x_t, i, noise) to x_{t-1}; one loop draws the noise."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from glide_jax.diffusion.constraints import clip
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import (
    Denoiser,
    History,
    Image,
    Keys,
    Prediction,
    Scalar,
    Score,
    Solver,
    Step,
    X0Fn,
)


class Gaussian(NamedTuple):
    """p(x_{t-1} | x_t) of the learned reverse process, and the x_0 it was built from."""

    mean: Image
    log_var: Image
    x_0: Image


def predict_x_0(s: Schedule, x_t: Image, eps: Image) -> Image:
    """The clean image that eps implies (Ho et al., 2020, eq. 15); `s` is a schedule at a step.

    Args:
        s: the schedule at this step.
        x_t: (b, h, w, c).
        eps: the noise in x_t.
    """
    return s.sqrt_recip_alpha_bar * x_t - s.sqrt_recipm1_alpha_bar * eps


def predict_eps(s: Schedule, x_t: Image, x_0: Image) -> Image:
    """The noise that a clean image implies: the inverse of `predict_x_0`.

    Args:
        s: the schedule at this step.
        x_t: (b, h, w, c).
        x_0: the clean image.
    """
    return (s.sqrt_recip_alpha_bar * x_t - x_0) / s.sqrt_recipm1_alpha_bar


def q_sample(s: Schedule, x_0: Image, noise: Image) -> Image:
    """x_t given x_0 and the noise to add (Ho et al., 2020, eq. 4).

    Args:
        s: the schedule at this step.
        x_0: the clean image, in [-1, 1].
        noise: standard normal, as large.
    """
    return s.sqrt_alpha_bar * x_0 + s.sqrt_one_minus_alpha_bar * noise


def q_posterior_mean(s: Schedule, x_0: Image, x_t: Image) -> Image:
    """Mean of q(x_{t-1} | x_t, x_0) (Ho et al., 2020, eq. 7); its variance is `s.var`.

    Args:
        s: the schedule at this step.
        x_0: the clean image.
        x_t: (b, h, w, c).
    """
    return s.mean_x_0 * x_0 + s.mean_x_t * x_t


def p_mean_variance(s: Schedule, x_t: Image, out: Prediction, x0_fn: X0Fn = clip) -> Gaussian:
    """The reverse step's Gaussian, with the learned variance (Nichol & Dhariwal, 2021, eq. 15).

    Args:
        s: the schedule at this step.
        x_t: (b, h, w, c).
        out: the network's prediction.
        x0_fn: the constraint on x_0.
    """
    x_0 = x0_fn(predict_x_0(s, x_t, out.eps))
    log_var = out.var_frac * s.log_var_max + (1.0 - out.var_frac) * s.log_var_min
    return Gaussian(q_posterior_mean(s, x_0, x_t), log_var, x_0)


class Estimate(NamedTuple):
    """The predictions at x_t after constraints and scores."""

    x_0: Image
    eps: Image
    renoise: Image  # eps, unless the denoiser says otherwise (CFG++)


def estimate(
    denoise: Denoiser,
    schedule: Schedule,
    x_t: Image,
    i: Int[Array, ""],
    x0_fn: X0Fn = clip,
    score: Score | None = None,
) -> Estimate:
    """x_0 and the eps that goes with it, at step i.

    A score shifts eps (Dhariwal & Nichol, 2021, algorithm 2); x_0 is then not clipped again, as
    in the reference.

    Args:
        denoise: predicts eps at (x_t, t).
        schedule: the chain's.
        x_t: (b, h, w, c).
        i: the step.
        x0_fn: the constraint on x_0.
        score: gradient of log p(y | x_t), if one guides.
    """
    s, t = schedule.at(i), jnp.broadcast_to(schedule.t[i], x_t.shape[:1])
    out = denoise(x_t, t)
    x_0 = x0_fn(predict_x_0(s, x_t, out.eps))
    eps = predict_eps(s, x_t, x_0)
    if score is not None:
        eps = eps - s.sqrt_one_minus_alpha_bar * score(x_t, t)
        x_0 = predict_x_0(s, x_t, eps)
    if out.renoise is None:
        return Estimate(x_0, eps, eps)
    return Estimate(x_0, eps, predict_eps(s, x_t, x0_fn(predict_x_0(s, x_t, out.renoise))))


def ddpm(
    denoise: Denoiser, schedule: Schedule, *, x0_fn: X0Fn = clip, score: Score | None = None
) -> Step:
    """Ancestral sampling; a score shifts the mean (Dhariwal & Nichol, 2021, algorithm 1).

    Args:
        denoise: predicts eps at (x_t, t).
        schedule: the chain's.
        x0_fn: the constraint on every x_0.
        score: gradient of log p(y | x_t), if one guides.
    """

    def step(x_t: Image, i: Int[Array, ""], noise: Image) -> Image:
        s, t = schedule.at(i), jnp.broadcast_to(schedule.t[i], x_t.shape[:1])
        p = p_mean_variance(s, x_t, denoise(x_t, t), x0_fn)
        mean = p.mean
        if score is not None:
            mean = mean + jnp.exp(p.log_var) * score(x_t, t)
        return mean + jnp.where(i > 0, jnp.exp(0.5 * p.log_var), 0.0) * noise

    return step


def ddim(
    denoise: Denoiser,
    schedule: Schedule,
    *,
    eta: Scalar = 0.0,
    x0_fn: X0Fn = clip,
    score: Score | None = None,
) -> Step:
    """Implicit sampling (Song et al., 2021): deterministic at eta = 0, DDPM-like at eta = 1.

    `eta` may be traced. `estimate` explains the score.

    Args:
        denoise: predicts eps at (x_t, t).
        schedule: the chain's.
        eta: 0 to 1.
        x0_fn: the constraint on every x_0.
        score: gradient of log p(y | x_t), if one guides.
    """

    def step(x_t: Image, i: Int[Array, ""], noise: Image) -> Image:
        s, now = schedule.at(i), estimate(denoise, schedule, x_t, i, x0_fn, score)
        x_prev, sigma = ddim_mean(s, now.x_0, now.renoise, eta)
        return x_prev + jnp.where(i > 0, sigma, 0.0) * noise

    return step


def ddim_mean(s: Schedule, x_0: Image, eps: Image, eta: Scalar) -> tuple[Image, Image]:
    """Where a step of DDIM leads before its noise, and sigma, that noise's standard deviation.

    Args:
        s: a schedule's numbers at each picture's step.
        x_0: the predicted picture.
        eps: the noise that goes with it.
        eta: 0 to 1.
    """
    sigma = eta * s.sigma
    towards_x_t = jnp.sqrt(jnp.maximum(s.one_minus_alpha_bar_prev - sigma**2, 0.0))
    return s.sqrt_alpha_bar_prev * x_0 + towards_x_t * eps, sigma


def ddim_reverse(denoise: Denoiser, schedule: Schedule, *, x0_fn: X0Fn = clip) -> Step:
    """DDIM's ODE run towards noise, from x_t to x_{t+1}: the encoder of Song et al. (2021).

    Args:
        denoise: predicts eps at (x_t, t).
        schedule: the chain's.
        x0_fn: the constraint on every x_0.
    """

    def step(x_t: Image, i: Int[Array, ""], noise: Image) -> Image:
        del noise
        s, t = schedule.at(i), jnp.broadcast_to(schedule.t[i], x_t.shape[:1])
        last = i + 1 >= schedule.num_steps  # beyond the last step alpha_bar is 0: pure noise
        following = schedule.at(jnp.minimum(i + 1, schedule.t.shape[0] - 1))
        x_0 = x0_fn(predict_x_0(s, x_t, denoise(x_t, t).eps))
        eps = predict_eps(s, x_t, x_0)
        x_next = following.sqrt_alpha_bar * x_0 + following.sqrt_one_minus_alpha_bar * eps
        return jnp.where(last, eps, x_next)

    return step


def noise(keys: Keys, k: Int[Array, ""] | int, shape: tuple[int, ...]) -> Image:
    """Standard normal number k of each image; an image never depends on its batch.

    k = 0 is where a chain starts and k = 1, 2, ... belong to its steps in the order they are
    taken, so chains of any length from one key start at the same x_T.

    Args:
        keys: (b,), one per image.
        k: the number.
        shape: each image's.
    """
    draw = lambda key: jax.random.normal(jax.random.fold_in(key, k), shape)
    return jax.vmap(draw)(keys)


def sample(
    step: Step,
    keys: Keys,
    x_t: Image,
    num_steps: Int[Array, ""] | int,
    start: Int[Array, ""] | int = 0,
    stop: Int[Array, ""] | int | None = None,
) -> Image:
    """`solve` for a step that remembers nothing.

    Args:
        step: takes (x_t, i, noise).
        keys: (b,), one per image.
        x_t: where the chain is.
        num_steps: steps of the chain.
        start: the first step to take.
        stop: the step to stop before.
    """
    stop = num_steps if stop is None else stop
    solver: Solver = lambda x_t, i, noise, history: (step(x_t, i, noise), history)
    return solve(solver, keys, x_t, (), num_steps, start, stop)[0]


def solve(
    solver: Solver,
    keys: Keys,
    x_t: Image,
    history: History,
    num_steps: Int[Array, ""] | int,
    start: Int[Array, ""] | int,
    stop: Int[Array, ""] | int,
) -> tuple[Image, History]:
    """Takes steps `start` ... `stop - 1` of a chain of `num_steps`, noisiest first.

    The three numbers may be traced. A chain run in pieces, its history handed on, gives the same
    image as in one go.

    Args:
        solver: takes (x_t, i, noise, history).
        keys: (b,), one per image.
        x_t: where the chain is.
        history: the solver's memory there.
        num_steps: steps of the chain.
        start: the first step to take.
        stop: the step to stop before.

    Returns:
        x_t after the steps, and the solver's memory there.
    """

    def body(k: Int[Array, ""], state: tuple[Image, History]) -> tuple[Image, History]:
        x_t, history = state
        return solver(x_t, num_steps - 1 - k, noise(keys, k + 1, x_t.shape[1:]), history)

    return jax.lax.fori_loop(start, stop, body, (x_t, history))


def quantize(x: Image) -> Image:
    """Rounds [-1, 1] to the 8-bit grid that upsamplers are trained on (half to even)."""
    return jnp.round((x + 1.0) * 127.5) / 127.5 - 1.0


def slerp(
    a: Float[Array, "..."], b: Float[Array, "..."], weight: Float[Array, " b"]
) -> Float[Array, "..."]:
    """Between each a and b along a great circle (Shoemake, 1985); 0 is a, 1 is b, to the bit.

    A straight line between two draws of noise passes through images of too little noise; the arc
    keeps its amount. Lengths, where they differ, change evenly along it.

    Args:
        a: (b, ...).
        b: (b, ...).
        weight: (b,), 0 to 1.
    """
    shape = (-1, *(1,) * (a.ndim - 1))
    flat = lambda x: x.reshape(len(x), -1)
    size = lambda x: jnp.linalg.norm(flat(x), axis=1)
    cosine = (flat(a) * flat(b)).sum(1) / jnp.maximum(size(a) * size(b), 1e-12)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    near = jnp.sin(angle) < 1e-4  # where the arc is a line, or every arc is as short
    sine = jnp.where(near, 1.0, jnp.sin(angle))
    to_a = jnp.where(near, 1.0 - weight, jnp.sin((1.0 - weight) * angle) / sine)
    to_b = jnp.where(near, weight, jnp.sin(weight * angle) / sine)
    return to_a.reshape(shape) * a + to_b.reshape(shape) * b
