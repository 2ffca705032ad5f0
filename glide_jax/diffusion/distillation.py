"""A teacher's steps as a student's targets (Salimans & Ho, 2022, progressive distillation)."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from glide_jax.diffusion import samplers
from glide_jax.diffusion.constraints import clip
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import Denoiser, Image, Score, Step, Timestep, X0Fn

WEIGHTS = ("snr+1", "truncated")


def weights(alpha_bar: np.ndarray, leap: int = 2) -> np.ndarray:
    """The weights of a teacher's predictions in the one step that leads as far as all of its steps.

    Steps of DDIM from x_t with the predictions x_1, x_2, ... of x_0 end where one step with their
    weighted mean does. The weight of each is the growth of sqrt(SNR) in its step, as a share of
    the growth in all. That is the target of Salimans & Ho (2022, algorithm 2), there for two
    steps, without its division by a small difference: weights are between 0 and 1, with sum 1.

    Args:
        alpha_bar: float64 (n,), at the steps of the chain.
        leap: how many steps are taken.

    Returns:
        Float64 (n, leap); row i is of the steps from i. Steps beyond the clean picture have
        weight 0.
    """
    behind = np.append(1.0, alpha_bar)  # entry i is before step i: the clean picture's is 1
    met = np.arange(1, len(behind))[:, None] - np.arange(leap + 1)
    # Where the clean picture is met, all growth is in the step that leads there: it is infinite.
    with np.errstate(divide="ignore", invalid="ignore"):
        root_snr = np.sqrt(behind / (1.0 - behind))[np.maximum(met, 0)]
        shares = np.diff(root_snr) / (root_snr[:, -1:] - root_snr[:, :1])
    return np.where(met[:, -1:] <= 0, met[:, 1:] == 0, shares)


def one_step(
    predict: Callable[[Image, Timestep], Image], schedule: Schedule, x_t: Image, i: Int[Array, " b"]
) -> tuple[Image, Image]:
    """A teacher's x_0 at step i, and where its step of DDIM ends.

    Args:
        predict: see `leap`.
        schedule: the teacher's chain.
        x_t: (b, h, w, c).
        i: the step of each picture.
    """
    s = schedule.at(i)
    x_0 = predict(x_t, schedule.t[i])
    eps = samplers.predict_eps(s, x_t, x_0)
    return x_0, s.sqrt_alpha_bar_prev * x_0 + jnp.sqrt(s.one_minus_alpha_bar_prev) * eps


def far_step(
    predict: Callable[[Image, Timestep], Image],
    schedule: Schedule,
    x_t: Image,
    i: Int[Array, " b"],
    end: Int[Array, " b"],
) -> Image:
    """Where one step of DDIM ends that goes past others.

    Args:
        predict: a student's x_0 at (x_t, t).
        schedule: the chain.
        x_t: (b, h, w, c).
        i: the step at which x_t is.
        end: the step at which the result is.
    """
    s = schedule.at(i)
    x_0 = predict(x_t, schedule.t[i])
    return samplers.q_sample(schedule.at(end), x_0, samplers.predict_eps(s, x_t, x_0))


def leap(
    predict: Callable[[Image, Timestep], Image],
    schedule: Schedule,
    weight: Float[Array, "n k"],
    x_t: Image,
    i: Int[Array, " b"],
) -> Image:
    """The x_0 by which one step of DDIM from x_t ends where a teacher's k steps end.

    Args:
        predict: the teacher's x_0 at (x_t, t), constrained as its sampler does.
        schedule: the teacher's chain.
        weight: `weights` of that chain.
        x_t: (b, h, w, c).
        i: the step of each picture; where fewer than k are left, those are taken.
    """

    def step(carry: tuple[Image, Image], k: Int[Array, ""]) -> tuple[tuple[Image, Image], None]:
        x_t, mean = carry
        x_0, x_next = one_step(predict, schedule, x_t, jnp.maximum(i - k, 0))
        return (x_next, mean + weight[i, k][:, None, None, None] * x_0), None

    (_, mean), _ = jax.lax.scan(step, (x_t, jnp.zeros_like(x_t)), jnp.arange(weight.shape[1]))
    return mean


def renoised(
    denoise: Denoiser, schedule: Schedule, *, x0_fn: X0Fn = clip, score: Score | None = None
) -> Step:
    """A step of DDIM of twice the length, and noise put back for half of it.

    The stochastic sampler of a student whose steps are two of its teacher's (Meng et al., 2022,
    section 3.2): noise in every step takes back errors of the steps before.

    Args:
        denoise: predicts eps at (x_t, t).
        schedule: the chain's.
        x0_fn: the constraint on every x_0.
        score: gradient of log p(y | x_t), if one guides.
    """

    def step(x_t: Image, i: Int[Array, ""], noise: Image) -> Image:
        now = samplers.estimate(denoise, schedule, x_t, i, x0_fn, score)
        before = jnp.maximum(i - 1, 0)
        mid, end = schedule.alpha_bar[before], schedule.alpha_bar_prev[before]
        x_end = jnp.sqrt(end) * now.x_0 + jnp.sqrt(1.0 - end) * now.renoise
        x_mid = jnp.sqrt(mid / end) * x_end + jnp.sqrt(1.0 - mid / end) * noise
        return jnp.where(i > 0, x_mid, now.x_0)

    return step


def weight_of_v(snr: Float[Array, " b"], name: str, most: float = math.inf) -> Float[Array, " b"]:
    """The weight of v's error that the paper's weight of x_0's error is (section 4).

    Args:
        snr: alpha_bar / (1 - alpha_bar).
        name: "snr+1", the plain error of v, or "truncated", max(SNR, 1) of x_0's error, which is
            that of eps at clean timesteps and of x_0 at noisy ones.
        most: a cap on SNR in the weight, see `losses.max_snr_weight`.
    """
    capped = jnp.minimum(snr, most)
    of_x_0 = jnp.maximum(capped, 1.0) if name == "truncated" else capped + 1.0
    return of_x_0 / (snr + 1.0)  # the error of x_0 is that of v divided by SNR + 1
