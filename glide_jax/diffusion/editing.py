"""Editing: chains that start from a picture or go back up, and networks that work in windows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from glide_jax.diffusion import samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import (
    Cond,
    History,
    Image,
    Keys,
    Network,
    Prediction,
    Scalar,
    Solver,
    Timestep,
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
        schedule: whose steps are taken.
        num_timesteps: of the trained diffusion.
        strength: 0 takes none, 1 takes all.
    """
    t = np.asarray(schedule.t)[: int(schedule.num_steps)]
    return int((t + 1 > strength * num_timesteps + 1e-6).sum())


def noised(schedule: Schedule, x_0: Image, noise: Image, first: Int[Array, ""] | int) -> Image:
    """x_t from which a chain goes on that leaves out its `first` steps; all of them is x_0."""
    i = schedule.num_steps - 1 - first
    x_t = samplers.q_sample(schedule.at(jnp.maximum(i, 0)), x_0, noise)
    return jnp.where(i >= 0, x_t, x_0)


def step_of_walk(
    k: Int[Array, ""] | int, num_steps: Int[Array, ""] | int, how: Resampling
) -> Int[Array, ""]:
    """Which step is the k-th of a walk of num_steps * repeats.

    Steps num_steps - 1 ... 0 fall into stretches of `jump`; each is walked `repeats` times before
    the next, the last one being as long as what is left.
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
        solver: of the schedule.
        schedule: whose steps are taken.
        keys: of the images.
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
    """Where a chain ends that starts at step `first` and is resampled."""
    return first + (schedule.num_steps - first) * how.repeats


def slerp(
    a: Float[Array, "..."], b: Float[Array, "..."], weight: Float[Array, " b"]
) -> Float[Array, "..."]:
    """Between each a and b along a great circle (Shoemake, 1985); 0 is a, 1 is b, to the bit.

    A straight line between two draws of noise passes through images of too little noise; the arc
    keeps its amount. Lengths, where they differ, change evenly along it.
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


def windows_across(side: int, window: int, overlap: int) -> int:
    """How many windows, each overlapping the last, it takes to cover `side`."""
    return 1 + max(0, -(-(side - window) // (window - overlap)))


def covered(side: int, window: int, overlap: int) -> int:
    """The least side that whole windows cover exactly and that holds `side`."""
    return window + (windows_across(side, window, overlap) - 1) * (window - overlap)


def window_weights(count: int, window: int, overlap: int) -> np.ndarray:
    """Weights of `count` windows in a row, (count, window); at every place they sum to 1.

    Each falls off linearly through its overlaps, so that no window's edge is seen.
    """
    p = np.arange(window) + 0.5
    ramp = np.minimum(np.minimum(p, window - p), max(overlap, 1))
    starts = np.arange(count) * (window - overlap)
    total = np.zeros(int(starts[-1]) + window)
    for start in starts:
        total[start : start + window] += ramp
    return np.stack([ramp / total[start : start + window] for start in starts])


def tiled(network: Network, window: int, overlap: int, factor: int, batch: int) -> Network:
    """An upsampler for canvases larger than it was trained on: windows, averaged at every step.

    Predictions of overlapping windows are averaged before the step is taken, so that all windows
    are parts of one x_t and agree wherever they meet (Bar-Tal et al., 2023, MultiDiffusion, eq. 5;
    there pixels, here eps and variance). A canvas of one window is the network itself.

    Args:
        network: of images `window` a side, low-res images `window // factor`.
        window: pixels a side.
        overlap: pixels that neighbours share; a multiple of `factor`.
        factor: of upsampling.
        batch: windows in one evaluation.

    Returns:
        A network of canvases of a side that `covered` gives, one to one with their low-res images.
    """
    stride = window - overlap

    def predict(x_t: Image, t: Timestep, cond: Cond) -> Prediction:
        b, height, width, _ = x_t.shape
        rows, columns = (windows_across(n, window, overlap) for n in (height, width))
        count = b * rows * columns
        across = jnp.float32(window_weights(columns, window, overlap))
        down = jnp.float32(window_weights(rows, window, overlap))
        wide = min(batch, count)

        def crop(x: Image, image: Array, row: Array, column: Array, scale: int) -> Image:
            side, s = window // scale, stride // scale
            take = lambda n, r, c: jax.lax.dynamic_slice(
                x, (n, r * s, c * s, 0), (1, side, side, x.shape[3])
            )[0]
            return jax.vmap(take)(image, row, column)

        def some(j: Array, sums: tuple[Image, Image]) -> tuple[Image, Image]:
            k = j * wide + jnp.arange(wide)
            real, k = k < count, jnp.minimum(k, count - 1)  # the last batch repeats its last
            image, row, column = k // (rows * columns), k // columns % rows, k % columns
            part = cond._replace(text=jax.tree.map(lambda a: a[image], cond.text))
            assert cond.low_res is not None, "only upsamplers work in windows"
            part = part._replace(low_res=crop(cond.low_res, image, row, column, factor))
            out = network(crop(x_t, image, row, column, 1), t[image], part)
            weight = down[row][:, :, None, None] * across[column][:, None, :, None]
            weight = weight * real[:, None, None, None]
            for n in range(wide):
                at = (image[n], row[n] * stride, column[n] * stride, 0)
                sums = tuple(
                    _add(total, (weight * value)[n : n + 1], at)
                    for total, value in zip(sums, (out.eps, out.var_frac), strict=True)
                )  # type: ignore[assignment]
            return sums

        zeros = (jnp.zeros_like(x_t), jnp.zeros_like(x_t))
        return Prediction(*jax.lax.fori_loop(0, -(-count // wide), some, zeros))

    return predict


def _add(total: Image, part: Image, at: tuple[Scalar | int, ...]) -> Image:
    here = jax.lax.dynamic_slice(total, at, part.shape)
    return jax.lax.dynamic_update_slice(total, here + part, at)
