"""A teacher's steps as a student's targets (Salimans & Ho, 2022, progressive distillation)."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from glide_jax.diffusion import samplers
from glide_jax.diffusion.constraints import clip
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import Denoiser, Image, Score, Step, Timestep, X0Fn

WEIGHTS = ("snr+1", "truncated")


def shares(alpha_bar: np.ndarray) -> np.ndarray:
    """The share of the second of two steps of DDIM in the one that leads as far.

    From x_t, two steps with predictions x_1 and x_2 of x_0 end where one with
    (1 - share) x_1 + share x_2 does. That is the target of Salimans & Ho (2022, algorithm 2)
    without its division by a small difference: both weights are between 0 and 1.

    Args:
        alpha_bar: float64 (n,), at the steps of the chain.

    Returns:
        Float64 (n,); entry i is of the two steps from i. From step 0 there is only one.
    """
    behind = np.append(1.0, alpha_bar)  # entry i is before step i: the clean picture's is 1
    end, mid, start = np.append(1.0, behind[:-2]), behind[:-1], alpha_bar
    last = np.sqrt((1.0 - end) / np.maximum(1.0 - mid, 1e-300))  # 0 where the end is clean
    both = np.sqrt((1.0 - end) / (1.0 - start))
    found = (np.sqrt(end) - last * np.sqrt(mid)) / (np.sqrt(end) - both * np.sqrt(start))
    return np.append(0.0, found[1:])


def two_steps(
    predict: Callable[[Image, Timestep], Image],
    schedule: Schedule,
    share: Float[Array, " n"],
    x_t: Image,
    i: Int[Array, " b"],
) -> Image:
    """The x_0 by which one step of DDIM from x_t ends where two of a teacher end.

    Args:
        predict: the teacher's x_0 at (x_t, t), constrained as its sampler does.
        schedule: the teacher's chain.
        share: `shares` of that chain.
        x_t: (b, h, w, c).
        i: the step of each picture; from step 0 there is only one to take.
    """
    s = schedule.at(i)
    x_1 = predict(x_t, schedule.t[i])
    eps = samplers.predict_eps(s, x_t, x_1)
    x_mid = s.sqrt_alpha_bar_prev * x_1 + jnp.sqrt(s.one_minus_alpha_bar_prev) * eps
    x_2 = predict(x_mid, schedule.t[i - 1])
    return x_1 + share[i][:, None, None, None] * (x_2 - x_1)


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
