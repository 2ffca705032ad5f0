"""Editing: chains that start from a picture or go back up, and networks that work in windows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from glide_jax.diffusion import samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import (
    History,
    Image,
    Keys,
    Solver,
)

_RENOISE = 2**30  # noise of going back is numbered from here on, beyond every step's


class Resampling(NamedTuple):
    """How often stretches of a chain are walked (Lugmayr et al., 2022, RePaint, section 4.2)."""

    jump: Int[Array, ""] | int = 10  # steps of a stretch
    repeats: Int[Array, ""] | int = 1  # times each is walked; 1 is a plain chain


def skipped(schedule: Schedule, num_timesteps: int, strength: float) -> int:
    """Steps that a chain from a picture leaves out (Meng et al., 2022, SDEdit, section 3.2).

    A step is taken if its timestep is within `strength` of the trained diffusion, so the same
    strength is the same noise in every respacing.

    Args:
        schedule: the chain's.
        num_timesteps: length of the trained diffusion.
        strength: 0 takes none, 1 takes all.
    """
    t = np.asarray(schedule.t)[: int(schedule.num_steps)]
    return int((t + 1 > strength * num_timesteps + 1e-6).sum())


def noised(schedule: Schedule, x_0: Image, noise: Image, first: Int[Array, ""] | int) -> Image:
    """x_t where a chain without its `first` steps begins; without any step it is x_0.

    Args:
        schedule: the chain's.
        x_0: (b, h, w, c), the picture.
        noise: standard normal, as large.
        first: steps that are left out.
    """
    i = schedule.num_steps - 1 - first
    x_t = samplers.q_sample(schedule.at(jnp.maximum(i, 0)), x_0, noise)
    return jnp.where(i >= 0, x_t, x_0)


def step_of_walk(
    k: Int[Array, ""] | int, num_steps: Int[Array, ""] | int, how: Resampling
) -> Int[Array, ""]:
    """Which step is the k-th of a walk of num_steps * repeats.

    Steps num_steps - 1 ... 0 fall into stretches of `jump`; each is walked `repeats` times before
    the next, the last one being as long as what is left.

    Args:
        k: 0 to num_steps * repeats - 1.
        num_steps: steps of the plain chain.
        how: may be traced.
    """
    jump = jnp.clip(how.jump, 1, jnp.maximum(num_steps, 1))
    stretch = jnp.minimum(k // (jump * how.repeats), (num_steps - 1) // jump)
    length = jnp.minimum(jump, num_steps - stretch * jump)
    within = (k - stretch * jump * how.repeats) % jnp.maximum(length, 1)
    return num_steps - 1 - stretch * jump - within


def resampled(
    solver: Solver,
    schedule: Schedule,
    keys: Keys,
    first: Int[Array, ""] | int,
    how: Resampling,
) -> Solver:
    """Lets a chain go back up, so that what is painted settles with what is known.

    Going up adds the noise of all steps of the stretch at once, which has the distribution of
    adding them one by one (Ho et al., 2020, eq. 4). A solver forgets what it remembered, as that
    belongs to another noise level. With one repeat nothing changes, to the bit.

    Args:
        solver: a solver of that schedule.
        schedule: the chain's.
        keys: (b,), one per image.
        first: steps that the chain leaves out.
        how: may be traced.

    Returns:
        A solver for `samplers.solve` with `length(schedule, first, how)` as its number of steps.
    """
    num_steps = schedule.num_steps - first
    total = length(schedule, first, how)

    def step(
        x_t: Image, i: Int[Array, ""], noise: Image, history: History
    ) -> tuple[Image, History]:
        k = total - 1 - i - first
        here = step_of_walk(k, num_steps, how)
        before = step_of_walk(jnp.maximum(k - 1, 0), num_steps, how)
        up = (k > 0) & (here >= before)

        def renoise(x: Image) -> Image:
            share = schedule.alpha_bar[here] / schedule.alpha_bar_prev[before]
            z = samplers.noise(keys, _RENOISE + k, x.shape[1:])
            return jnp.sqrt(share) * x + jnp.sqrt(1.0 - share) * z

        x_t = jax.lax.cond(up, renoise, lambda x: x, x_t)
        history = jax.tree.map(lambda h: jnp.where(up, jnp.zeros_like(h), h), history)
        return solver(x_t, here, noise, history)

    return step


def length(
    schedule: Schedule, first: Int[Array, ""] | int, how: Resampling
) -> Int[Array, ""] | int:
    """Where a chain ends that starts at step `first` and is resampled.

    Args:
        schedule: the chain's.
        first: steps that are left out.
        how: may be traced.
    """
    return first + (schedule.num_steps - first) * how.repeats
