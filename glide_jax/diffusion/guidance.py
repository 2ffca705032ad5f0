"""Guidance as functions from networks to denoisers.

Two parts fit together. *Branches* are a network's predictions under several conditions; a
*combination* makes one eps of the predictions with the prompt and without. Everything else wraps
one of those two, or a finished denoiser, so the pieces stack in any order. `assemble` stacks the
pieces that the settings ask for.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.diffusion.grids import LAMBDA_MIN
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import (
    Cond,
    Denoiser,
    Guide,
    Image,
    Memory,
    Network,
    Prediction,
    Scalar,
    Timestep,
)

Branches: TypeAlias = Callable[[Image, Timestep], list[Prediction]]  # one for each condition
Combine: TypeAlias = Callable[[Image, Timestep, Image, Image], Image]  # (x_t, t, eps, eps_null)
ScaleOfTime: TypeAlias = Callable[[Timestep], Float[Array, "b 1 1 1"]]
Recall: TypeAlias = Callable[[Timestep, Image], tuple[Image, Memory]]  # (t, eps - eps_null)
# Traced settings by the names of `sampling.settings.StageSettings`. One that is off is absent, so
# the compiled program does not have it.
Knobs: TypeAlias = Mapping[str, Any]


def conditional(network: Network, cond: Cond) -> Denoiser:
    """No guidance: the network with its condition bound."""
    return lambda x_t, t: network(x_t, t, cond)


def interleave(*arrays: Array) -> Array:
    """Rows a0 b0 a1 b1 ...: a pair stays on its device when the batch is sharded."""
    return jnp.stack(arrays, axis=1).reshape(-1, *arrays[0].shape[1:])


def together(network: Network, conds: Sequence[Cond]) -> Branches:
    """The network under n conditions, as one batch of n b."""
    n = len(conds)
    joined = jax.tree.map(interleave, *conds)

    def branches(x_t: Image, t: Timestep) -> list[Prediction]:
        out = network(interleave(*[x_t] * n), interleave(*[t] * n), joined)
        part = lambda k: Prediction(out.eps[k::n], out.var_frac[k::n], kept=out.kept)
        return [part(k) for k in range(n)]

    return branches


def mixed(branches: Branches, weights: Float[Array, " k"]) -> Branches:
    """The first k branches become one, their weighted sum (Liu et al., 2022, eq. 11).

    Args:
        branches: at least k; the others are handed on.
        weights: (k,), with sum 1; some may be negative, which steers away.
    """
    k = len(weights)
    towards = jnp.maximum(weights, 0.0)  # a variance to steer away from is none to draw with
    add = lambda shares, values: jnp.tensordot(shares, jnp.stack(values), axes=1)

    def mix(x_t: Image, t: Timestep) -> list[Prediction]:
        outs = branches(x_t, t)
        eps = add(weights, [out.eps for out in outs[:k]])
        var_frac = add(towards / towards.sum(), [out.var_frac for out in outs[:k]])
        return [Prediction(eps, var_frac, kept=outs[0].kept), *outs[k:]]

    return mix


def unguided(
    network: Network, conds: Sequence[Cond], weights: Float[Array, " k"] | None
) -> Denoiser:
    """The network with its condition bound, or the mix of its predictions under several.

    Args:
        network: takes x_t, t and a condition.
        conds: the prompt's condition, and those mixed into it.
        weights: see `mixed`; None if there is only one condition.
    """
    if weights is None:
        return conditional(network, conds[0])
    branches = mixed(together(network, conds), weights)
    return lambda x_t, t: branches(x_t, t)[0]


def extrapolate(scale: Scalar | ScaleOfTime) -> Combine:
    """Pushes eps away from the null condition, towards the prompt's (GLIDE, eq. 10).

    In eps space: in x_0 space the difference cancels where 1/sqrt(alpha_bar) is 2e4. A scale of 1
    is no guidance; GLIDE uses 3. It may be traced, and may be (b, 1, 1, 1).
    """
    at = scale if callable(scale) else lambda t: scale
    return lambda x_t, t, eps, eps_null: eps_null + at(t) * (eps - eps_null)


def ramp(scale: Scalar, power: Scalar, num_timesteps: int) -> ScaleOfTime:
    """A scale that rises from none at the noisy end to more at the clean one.

    scale(t) - 1 = (scale - 1) (1 + power) (1 - t/T)^power, whose mean over t is scale - 1. Power 0
    is constant; 1 is the linear increase that Wang et al. (2024, "Analysis of Classifier-Free
    Guidance Weight Schedulers") found to be best.

    Args:
        scale: the mean.
        power: 0 or more.
        num_timesteps: length of the trained diffusion.
    """

    def at(t: Timestep) -> Float[Array, "b 1 1 1"]:
        clean = 1.0 - jnp.float32(t)[:, None, None, None] / num_timesteps
        return 1.0 + (scale - 1.0) * (1.0 + power) * clean**power

    return at


def projected(
    schedule: Schedule, scale: Scalar | ScaleOfTime, parallel: Scalar, radius: Scalar
) -> Combine:
    """Adaptive projected guidance: less of what only saturates (Sadat et al., 2024, section 4).

    The difference that guidance makes to x_0 is bounded in length, and its part along x_0 itself,
    which raises contrast, is weakened. The paper's momentum is `momentum`.

    Args:
        schedule: the chain's.
        scale: see `extrapolate`.
        parallel: the share of the part along x_0 that is kept; 0 is the paper's, 1 keeps all.
        radius: longest difference of x_0, Euclidean over an image; inf is no bound.
    """
    at = scale if callable(scale) else lambda t: scale
    dot = lambda a, b: (a * b).sum((1, 2, 3), keepdims=True)

    def combine(x_t: Image, t: Timestep, eps: Image, eps_null: Image) -> Image:
        s, difference = schedule.at_timestep(t), eps - eps_null
        # x_0 differs by -sigma/alpha times as much, and x_t - sigma eps lies along x_0: so no
        # division by alpha is needed, which would be one by 5e-5 at the noisy end.
        length = s.sqrt_recipm1_alpha_bar * jnp.sqrt(dot(difference, difference))
        difference = difference * jnp.minimum(1.0, radius / jnp.maximum(length, 1e-12))
        x_0 = x_t - s.sqrt_one_minus_alpha_bar * eps
        along = dot(difference, x_0) / jnp.maximum(dot(x_0, x_0), 1e-12) * x_0
        return eps + (at(t) - 1.0) * (difference - (1.0 - parallel) * along)

    return combine


def momentum(schedule: Schedule, beta: Scalar, previous: Image) -> Recall:
    """APG's momentum (Sadat et al., 2024, algorithm 1): a running sum of differences.

    sum = difference + beta * previous sum, which takes the place of the difference before it is
    bounded and projected. A negative beta, the paper's is about -0.5, takes off what earlier steps
    pushed already.

    Sums are of differences of x_0, as in the paper: sigma/alpha times those of eps. Where
    sigma/alpha is above exp(-LAMBDA_MIN) = 164 nothing is remembered, since a small error of eps
    is larger there than any picture; the next steps would be pushed by it alone.

    Args:
        schedule: the chain's.
        beta: -1 to 1; 0 is no momentum.
        previous: (b, h, w, c), the sum of the step before; zeros at the start.
    """

    def recall(t: Timestep, difference: Image) -> tuple[Image, Memory]:
        ratio = schedule.at_timestep(t).sqrt_recipm1_alpha_bar
        total = difference + beta * previous / ratio
        return total, jnp.where(ratio <= math.exp(-LAMBDA_MIN), ratio * total, 0.0)

    return recall


def rescaled(combine: Combine, schedule: Schedule, share: Scalar) -> Combine:
    """Gives the guided x_0 back the spread that the prompt alone predicts (Lin et al., 2023, 3.4).

    Args:
        combine: makes the guided eps.
        schedule: the chain's.
        share: between not at all, 0, and wholly, 1; the paper's is 0.7.
    """

    def rescale(x_t: Image, t: Timestep, eps: Image, eps_null: Image) -> Image:
        s, guided = schedule.at_timestep(t), combine(x_t, t, eps, eps_null)
        # sqrt(alpha_bar) x_0 of both; their common factor falls out of everything below.
        x_0, x_0_guided = (x_t - s.sqrt_one_minus_alpha_bar * e for e in (eps, guided))
        spread = lambda x: jnp.std(x, axis=(1, 2, 3), keepdims=True)
        ratio = spread(x_0) / jnp.maximum(spread(x_0_guided), 1e-12)
        factor = 1.0 + share * (ratio - 1.0)
        return guided + (1.0 - factor) * x_0_guided / s.sqrt_one_minus_alpha_bar

    return rescale


def guided(
    branches: Branches,
    combine: Combine,
    *,
    renoise_null: bool = False,
    recall: Recall | None = None,
) -> Denoiser:
    """Makes one prediction of two branches, the prompt's and the null condition's.

    The variance stays the prompt's, as in the reference.

    Args:
        branches: the prompt's, then the null condition's.
        combine: makes the guided eps.
        renoise_null: CFG++ (Chung et al., 2024, algorithm 2): DDIM then puts back the *null* eps,
            so that x_t stays near the data, and scales lie between 0 and 1.
        recall: changes the difference of the two by what is remembered, such as `momentum`.
    """

    def denoise(x_t: Image, t: Timestep) -> Prediction:
        out, null = branches(x_t, t)
        eps_null, memory = null.eps, ()
        if recall is not None:
            difference, memory = recall(t, out.eps - null.eps)
            eps_null = out.eps - difference
        eps = combine(x_t, t, out.eps, eps_null)
        return Prediction(eps, out.var_frac, null.eps if renoise_null else None, memory, out.kept)

    return denoise


def classifier_free(network: Network, cond: Cond, null: Cond, scale: Scalar) -> Denoiser:
    """Plain classifier-free guidance (Ho & Salimans, 2021; GLIDE, eq. 10).

    Args:
        network: takes x_t, t and a condition.
        cond: the prompt's condition, leading axis b.
        null: the same with an empty prompt, or with one to stay away from, leading axis b.
        scale: see `extrapolate`.
    """
    return guided(together(network, (cond, null)), extrapolate(scale))


def autoguided(denoise: Denoiser, weak: Denoiser, scale: Scalar) -> Denoiser:
    """Pushes away from the prediction of a worse model (Karras et al., 2024, eq. 3).

    Args:
        denoise: the model's prediction, guided or not.
        weak: a smaller or earlier model's for the same condition.
        scale: 1 leaves `weak` without effect.
    """

    def guide(x_t: Image, t: Timestep) -> Prediction:
        out, bad = denoise(x_t, t), weak(x_t, t)
        return out._replace(eps=bad.eps + scale * (out.eps - bad.eps))

    return guide


def limited(denoise: Denoiser, plain: Denoiser, low: Scalar, high: Scalar) -> Denoiser:
    """Guides in an interval of timesteps alone (Kynkäänniemi et al., 2024).

    Outside it only `plain` is evaluated: which of the two runs is decided as the chain runs, for
    the whole batch, which is at one timestep. So the interval may be traced.

    Args:
        denoise: within low <= t <= high.
        plain: elsewhere.
        low: a timestep, cleaner.
        high: a timestep, noisier.
    """

    def denoise_or_not(x_t: Image, t: Timestep) -> Prediction:
        inside = (low <= t[0]) & (t[0] <= high)
        return jax.lax.cond(inside, denoise, plain, x_t, t)

    return denoise_or_not


def assemble(
    network: Network,
    conds: Sequence[Cond],
    weights: Float[Array, " k"] | None,
    null: Cond | None,
    knobs: Knobs,
    schedule: Schedule,
    weak: tuple[Denoiser, Scalar] | None = None,
) -> tuple[Guide, Denoiser]:
    """Stacks the guidance that the settings ask for.

    Args:
        network: takes x_t, t and a condition.
        conds: the prompt's condition, and those mixed into it.
        weights: (k,), one for each of `conds`; None if there is only one.
        null: the condition without the prompt; None for no classifier-free guidance.
        knobs: the settings that are on, by name, with traced values.
        schedule: the chain's; its tables are as long as the trained diffusion.
        weak: a worse model and the scale of `autoguided`.

    Returns:
        The guided denoiser of a memory, which begins as `fresh`, and the denoiser without
        guidance, which evaluates the network once.
    """
    plain = unguided(network, conds, weights)
    combine, branches, renoise_null = None, None, "cfgpp_scale" in knobs
    if null is not None:
        scale = knobs["cfgpp_scale" if renoise_null else "guidance_scale"]
        if "guidance_power" in knobs:
            scale = ramp(scale, knobs["guidance_power"], schedule.t.shape[0])
        combine = extrapolate(scale)
        if "apg_parallel" in knobs or "apg_radius" in knobs:
            parallel, radius = knobs.get("apg_parallel", 1.0), knobs.get("apg_radius", jnp.inf)
            combine = projected(schedule, scale, parallel, radius)
        if "guidance_rescale" in knobs:
            combine = rescaled(combine, schedule, knobs["guidance_rescale"])
        branches = together(network, [*conds, null])
        if weights is not None:
            branches = mixed(branches, weights)

    def guide(memory: Memory) -> Denoiser:
        def outside(x_t: Image, t: Timestep) -> Prediction:
            # Both sides of an interval give the same kinds of numbers.
            out = plain(x_t, t)
            renoise = out.eps if renoise_null and null is not None else None
            return out._replace(renoise=renoise, memory=memory)

        denoise = outside
        if combine is not None and branches is not None:
            recall = None
            if "apg_momentum" in knobs:
                recall = momentum(schedule, knobs["apg_momentum"], memory)
            denoise = guided(branches, combine, renoise_null=renoise_null, recall=recall)
        if weak is not None:
            denoise = autoguided(denoise, *weak)
        if "guidance_interval" in knobs and denoise is not outside:
            denoise = limited(denoise, outside, *knobs["guidance_interval"])
        return denoise

    return guide, plain


def fresh(knobs: Knobs, x_T: Image) -> Memory:
    """The memory at the start of a chain: zeros for `momentum`, or nothing."""
    return jnp.zeros_like(x_T) if "apg_momentum" in knobs else ()
