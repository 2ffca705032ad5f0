"""Solvers of higher order: steps that look twice or remember earlier predictions.

Each is a `Solver`: (x_t, i, noise, history) to (x_{t-1}, history). All of them take a plain first
order step where higher order has no ground: from the last timestep to x_0, where lambda is
infinite; with nothing remembered yet; and where lambda is below LAMBDA_MIN, since errors of eps
are as large there as pictures. Notation of Lu et al. (2022): alpha and sigma are the shares of x_0
and eps in x_t, lambda = log(alpha / sigma), h is lambda's increase over a step.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from glide_jax.diffusion import distillation, samplers
from glide_jax.diffusion.constraints import clip
from glide_jax.diffusion.grids import LAMBDA_MIN
from glide_jax.diffusion.samplers import estimate, predict_eps, predict_x_0
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import (
    Denoiser,
    Guide,
    History,
    Image,
    Memory,
    Prediction,
    Scalar,
    Score,
    Solver,
    Step,
    Timestep,
    X0Fn,
)


class Remembered(NamedTuple):
    """The history of a multistep method."""

    taken: Int[Array, ""]  # how many earlier steps may be built on
    earlier: tuple[Image, ...]  # newest first

    def then(self, sound: Bool[Array, ""], newest: Image) -> "Remembered":
        """With this step's value in front; a step that is not sound is not built on."""
        most = len(self.earlier)
        taken = jnp.where(sound, jnp.minimum(self.taken + 1, most), 0)
        return Remembered(taken, (newest, *self.earlier)[:most])


def _lambda(schedule: Schedule, i: Int[Array, ""]) -> Float[Array, ""]:
    """At step i; beyond either end that of the last step there is."""
    i = jnp.clip(i, 0, schedule.t.shape[0] - 1)
    return -jnp.log(schedule.sqrt_recipm1_alpha_bar[i])


def _first_order(s: Schedule, x_0: Image, eps: Image) -> Image:
    """DDIM's step with this x_0 and eps."""
    return s.sqrt_alpha_bar_prev * x_0 + jnp.sqrt(s.one_minus_alpha_bar_prev) * eps


def _constrained(s: Schedule, x_t: Image, eps: Image, x0_fn: X0Fn) -> Image:
    """DDIM's step with a combined eps, whose x_0 need not be a picture though its parts' are.

    At the noisy end a small difference of eps is a large one of x_0.
    """
    x_0 = x0_fn(predict_x_0(s, x_t, eps))
    return _first_order(s, x_0, predict_eps(s, x_t, x_0))


def heun(
    denoise: Denoiser, schedule: Schedule, *, x0_fn: X0Fn = clip, score: Score | None = None
) -> Step:
    """Second order by a second look, where the first one leads (Karras et al., 2022, algorithm 1).

    Two evaluations a step, one in the last. The two x_0 are averaged and the step is exact for an
    x_0 that stays; the paper averages eps, whose small differences are large ones of x_0 at the
    noisy end: 20 evaluations then ended 128 % from the converged picture of the model in the box
    on the uniform grid, not 14 %.

    Args:
        denoise: predicts eps at (x_t, t).
        schedule: the chain's.
        x0_fn: the constraint on every x_0.
        score: gradient of log p(y | x_t), if one guides.
    """

    def step(x_t: Image, i: Int[Array, ""], noise: Image) -> Image:
        del noise
        s, now = schedule.at(i), estimate(denoise, schedule, x_t, i, x0_fn, score)
        first = _first_order(s, now.x_0, now.eps)

        def again(first: Image) -> Image:
            there = estimate(denoise, schedule, first, i - 1, x0_fn, score)
            return _exponential(s, h, x_t, 0.5 * (now.x_0 + there.x_0))

        lam = _lambda(schedule, i)
        h, sound = _lambda(schedule, i - 1) - lam, lam >= LAMBDA_MIN
        return jax.lax.cond((i > 0) & sound, again, lambda x: x, first)

    return step


# Adams-Bashforth weights of this value and the up to three before, by how many of those there are.
_ADAMS_BASHFORTH = (
    (1.0, 0.0, 0.0, 0.0),
    (3 / 2, -1 / 2, 0.0, 0.0),
    (23 / 12, -16 / 12, 5 / 12, 0.0),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def plms(
    denoise: Denoiser, schedule: Schedule, *, x0_fn: X0Fn = clip, score: Score | None = None
) -> Solver:
    """Pseudo linear multistep on eps (Liu et al., 2022, PNDM, eq. 12).

    One evaluation a step; the first three steps use the orders they have values for. The weights
    are those of even steps on every grid: they then average eps over the steps' numbers instead of
    over t. True weights of uneven steps grow into the hundreds where a grid thins out.

    Args:
        denoise: predicts eps at (x_t, t).
        schedule: the chain's.
        x0_fn: the constraint on every x_0.
        score: gradient of log p(y | x_t), if one guides.
    """

    def step(
        x_t: Image, i: Int[Array, ""], noise: Image, history: Remembered
    ) -> tuple[Image, Remembered]:
        del noise
        s, now = schedule.at(i), estimate(denoise, schedule, x_t, i, x0_fn, score)
        sound = _lambda(schedule, i) >= LAMBDA_MIN
        weights = jnp.array(_ADAMS_BASHFORTH)[history.taken]
        values = jnp.stack([now.eps, *history.earlier])
        eps = jnp.tensordot(weights, values, axes=1)
        higher = (i > 0) & sound & (history.taken > 0)
        first = _first_order(s, now.x_0, now.eps)
        x_prev = jnp.where(higher, _constrained(s, x_t, eps, x0_fn), first)
        return x_prev, history.then(sound, now.eps)

    return step


def _exponential(
    s: Schedule, h: Array, x_t: Image, x_0: Image, eta: Scalar = 0.0, noise: Image | float = 0.0
) -> Image:
    """The exact step of length h for an x_0 that does not change (DPM-Solver++, eq. 9 and 14)."""
    sigma = jnp.sqrt(s.one_minus_alpha_bar_prev)
    return (
        sigma / s.sqrt_one_minus_alpha_bar * jnp.exp(-eta * h) * x_t
        - s.sqrt_alpha_bar_prev * jnp.expm1(-(1.0 + eta) * h) * x_0
        + sigma * jnp.sqrt(-jnp.expm1(-2.0 * eta * h)) * noise
    )


def dpmpp_2m(
    denoise: Denoiser,
    schedule: Schedule,
    *,
    eta: Scalar = 0.0,
    x0_fn: X0Fn = clip,
    score: Score | None = None,
) -> Solver:
    """DPM-Solver++(2M) and, at eta = 1, SDE-DPM-Solver++(2M) (Lu et al., 2022, DPM-Solver++).

    One evaluation a step: x_0 is extrapolated in lambda from this and the last prediction.
    `eta` may be traced.

    Args:
        denoise: predicts eps at (x_t, t).
        schedule: the chain's.
        eta: 0 to 1.
        x0_fn: the constraint on every x_0.
        score: gradient of log p(y | x_t), if one guides.
    """

    def step(
        x_t: Image, i: Int[Array, ""], noise: Image, history: Remembered
    ) -> tuple[Image, Remembered]:
        s, now = schedule.at(i), estimate(denoise, schedule, x_t, i, x0_fn, score)
        lam = _lambda(schedule, i)
        h, before = _lambda(schedule, i - 1) - lam, lam - _lambda(schedule, i + 1)
        sound = lam >= LAMBDA_MIN
        slope = jnp.where(sound & (history.taken > 0), h / before, 0.0)
        x_0 = now.x_0 + 0.5 * slope * (now.x_0 - history.earlier[0])
        x_prev = _exponential(s, h, x_t, x_0, eta, noise)
        return jnp.where(i > 0, x_prev, now.x_0), history.then(sound, now.x_0)

    return step


def _phi(z: Float[Array, ""]) -> tuple[Array, Array]:
    """(e^z - 1 - z) / z^2 and (e^z - 1 - z - z^2 / 2) / z^3, by series where those cancel."""
    small = jnp.abs(z) < 0.5
    safe = jnp.where(small, 1.0, z)
    series = lambda first: sum(z**k / math.factorial(k + first) for k in range(8))
    phi_2 = jnp.where(small, series(2), (jnp.expm1(safe) / safe - 1.0) / safe)
    return phi_2, jnp.where(small, series(3), (phi_2 - 0.5) / safe)


def unipc(
    denoise: Denoiser, schedule: Schedule, *, x0_fn: X0Fn = clip, score: Score | None = None
) -> Solver:
    """UniPC of order 2 on x_0, with B(h) = e^h - 1 (Zhao et al., 2023, algorithms 5 and 6).

    A step with one earlier value has order 1, for which both weights are a_1 = 1/2 (section 3.3).
    One evaluation a step. The prediction at x_t first corrects the step that led there
    (UniC), then takes the next one (UniP, which at order 2 is that of DPM-Solver++(2M)). As in the
    paper the corrected x_t is not evaluated again.

    Args:
        denoise: predicts eps at (x_t, t).
        schedule: the chain's.
        x0_fn: the constraint on every x_0.
        score: gradient of log p(y | x_t), if one guides.
    """

    def correct(x_0: Image, i: Int[Array, ""], history: Remembered) -> Image:
        """x_t by the step from i + 1, now that x_0 at its end is known."""
        x_before, last, earlier = history.earlier
        lam = _lambda(schedule, i + 1)
        h, before = _lambda(schedule, i) - lam, lam - _lambda(schedule, i + 2)
        phi_2, phi_3 = _phi(-h)
        # Integrals of the polynomial in lambda through x_0 here and at the one or two steps before.
        curve = (phi_2 - 2.0 * phi_3) * h / (1.0 + before / h)
        weight = jnp.where(history.taken > 1, h * phi_2 - curve, -0.5 * jnp.expm1(-h))
        curve = jnp.where(history.taken > 1, curve, 0.0)
        s = schedule.at(jnp.minimum(i + 1, schedule.t.shape[0] - 1))
        through = weight * (x_0 - last)
        through += curve * jnp.where(history.taken > 1, h / before, 0.0) * (last - earlier)
        return _exponential(s, h, x_before, last) + s.sqrt_alpha_bar_prev * through

    def step(
        x_t: Image, i: Int[Array, ""], noise: Image, history: Remembered
    ) -> tuple[Image, Remembered]:
        del noise
        s, now = schedule.at(i), estimate(denoise, schedule, x_t, i, x0_fn, score)
        x_t = jnp.where(history.taken > 0, correct(now.x_0, i, history), x_t)
        lam = _lambda(schedule, i)
        h, before = _lambda(schedule, i - 1) - lam, lam - _lambda(schedule, i + 1)
        sound = lam >= LAMBDA_MIN
        slope = jnp.where(sound & (history.taken > 0), h / before, 0.0)
        x_0 = now.x_0 + 0.5 * slope * (now.x_0 - history.earlier[1])
        x_prev = jnp.where(i > 0, _exponential(s, h, x_t, x_0), now.x_0)
        taken = jnp.where(sound, jnp.minimum(history.taken + 1, 2), 0)
        return x_prev, Remembered(taken, (x_t, now.x_0, history.earlier[1]))

    return step


def _forgetting(make: Callable[..., Step]) -> Callable[..., Solver]:
    """A step that remembers nothing, as a solver."""

    def made(*args: Any, **options: Any) -> Solver:
        step = make(*args, **options)
        return lambda x_t, i, noise, history: (step(x_t, i, noise), history)

    return made


def remembering(make: Callable[[Denoiser], Solver], guide: Guide) -> Solver:
    """A solver whose denoiser hands a memory from step to step.

    The first evaluation of a step, at x_t, decides what is remembered. A second look within the
    step (`heun`) sees what the first one saw.

    Args:
        make: makes a solver of a denoiser.
        guide: gives the denoiser of a memory; its predictions hold the next memory.

    Returns:
        A solver whose history is (`make`'s own, the memory).
    """

    def step(
        x_t: Image, i: Int[Array, ""], noise: Image, history: History
    ) -> tuple[Image, History]:
        own, memory = history
        written: list[Memory] = []

        def denoise(x: Image, t: Timestep) -> Prediction:
            out = guide(memory)(x, t)
            written.append(out.memory)
            return out._replace(memory=())

        x_prev, own = make(denoise)(x_t, i, noise, own)
        return x_prev, (own, written[0])

    return step


class Sampler(NamedTuple):
    """A sampler: how to make it, and its properties."""

    make: Callable[..., Solver]  # (denoise, schedule, x0_fn=, score=) and, if it knows it, eta=
    remembers: int = 0  # images carried from step to step
    evaluations: int = 1  # calls of the denoiser in a step
    random: bool = False  # whether steps add noise
    eta: bool = False  # whether `eta` may be chosen


SAMPLERS = {
    "ddpm": Sampler(_forgetting(samplers.ddpm), random=True),
    "ddim": Sampler(_forgetting(samplers.ddim), eta=True),
    "plms": Sampler(plms, remembers=3),
    "heun": Sampler(_forgetting(heun), evaluations=2),
    "dpmpp_2m": Sampler(dpmpp_2m, remembers=1),
    "dpmpp_2m_sde": Sampler(functools.partial(dpmpp_2m, eta=1.0), remembers=1, random=True),
    "unipc": Sampler(unipc, remembers=3),
    "renoised": Sampler(_forgetting(distillation.renoised), random=True),
}


def fresh(sampler: str, x_t: Image) -> History:
    """The history at the start of a chain from x_t: nothing yet."""
    count = SAMPLERS[sampler].remembers
    zeros = lambda: jnp.zeros_like(x_t)  # an array each, since a loop's state is given away whole
    return Remembered(jnp.int32(0), tuple(zeros() for _ in range(count))) if count else ()
