"""Distribution matching: a student whose pictures are spread as its teacher's guided ones are.

No step of the student has a step of the teacher to copy. The student draws from noise, and each
picture that it has in mind on the way, its x_0, is noised and looked at by two networks: the
teacher says which picture it would see there, and a critic, which learns meanwhile what the student
draws, says which one the student would see. The student moves by the difference, until there is
none (Yin et al., 2024, "Improved distribution matching distillation", DMD2, without its GAN).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from glide_jax.diffusion import constraints, parameterization, samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.training import distil, objectives, quartiles
from glide_jax.training.distil import Asked, Guided, Part
from glide_jax.training.objectives import Batch
from glide_jax.training.sections import Distill
from glide_jax.types import Cond, Image, Loss, Params

STUDENT, CRITIC = "student", "critic"  # the two networks in a state's parameters
_CLEANEST = 15  # the timestep below which a noised picture tells nothing that is worth learning
_LEAST = 1e-3  # a distance that is not divided by less


class Steps(NamedTuple):
    """How the student draws."""

    chain: Schedule
    eta: float  # DDIM's; noise in every step hides what the steps before did wrong

    @property
    def cleanest(self) -> Int[np.ndarray, " n"]:
        """The least timestep at which each step's x_0 is looked at; the largest is the noisiest.

        What is decided at less noise than the next step's timestep has is drawn anew by that step.
        What was decided at more noise is looked at again: a step may put right what those before
        it did wrong.
        """
        t = np.asarray(self.chain.t)
        return np.minimum(np.append(_CLEANEST, t[:-1]), t)


class Seen(NamedTuple):
    """A student's way from noise, and the teacher's view of it; rows are prompts x steps."""

    batch: Batch  # one row a prompt
    asked: Asked
    x_t: Image  # where the student was
    i: Int[Array, " bn"]  # at which of its steps
    x_0: Image  # the picture that it had in mind
    x_tau: Image  # x_0, noised
    tau: Int[Array, " bn"]
    by_teacher: Image  # x_0 at x_tau


def trained(distill: Distill, params: Any) -> Any:
    """The parameters to train: a network's, or a student's and a critic's that begin like it.

    Args:
        distill: the section.
        params: the network's parameters, or any tree like them.
    """
    if distill.what != "distribution":
        return params
    return {STUDENT: params, CRITIC: jax.tree.map(copied, params)}


def drawn_with(distill: Distill, params: Any) -> Any:
    """The part of what is trained, or of an average, that pictures are drawn with."""
    return params[STUDENT] if distill.what == "distribution" else params


def copied(leaf: Any) -> Any:
    """A leaf of its own, so that to donate one frees no other; shapes stay as they are."""
    return jnp.copy(leaf) if isinstance(leaf, jax.Array) else leaf


def faster_critic(tx: optax.GradientTransformation, rate: float) -> optax.GradientTransformation:
    """An optimizer whose updates of the critic are `rate` times as large (DMD2, section 4.2).

    The critic has to keep up with a student that changes.
    """
    is_critic = lambda params: {
        name: jax.tree.map(lambda _, own=name == CRITIC: own, tree) for name, tree in params.items()
    }
    return optax.chain(tx, optax.masked(optax.scale(rate), is_critic))


def looking(
    teacher: Part,
    own: Part,
    schedule: Schedule,
    steps: Steps,
    how: Guided,
    null_fraction: float,
    interval: tuple[float, ...] = (),
) -> Callable[[Params, Params, Batch, Array], Seen]:
    """Draws by the student from noise, and asks the teacher.

    Args:
        teacher: a network with and without prompts, or one that has guidance as an input.
        own: the student's.
        schedule: the diffusion, un-respaced.
        steps: the student's.
        how: the range of scales.
        null_fraction: how many captions are emptied.
        interval: timesteps between which the teacher is guided; () guides it everywhere.
    """
    n = int(steps.chain.num_steps)
    lows, noisiest = jnp.asarray(steps.cleanest, jnp.int32), steps.chain.t[-1]

    def draw(params: Params, cond: Cond, x_t: Image, key: Array) -> tuple[Image, Image]:
        def step(x_t: Image, i: Int[Array, ""]) -> tuple[Image, tuple[Image, Image]]:
            rows = jnp.full(len(x_t), i)
            s = steps.chain.at(rows)
            x_0 = own.x_0(params, s, x_t, steps.chain.t[rows], cond)
            there = constraints.clip(x_0)
            eps = samplers.predict_eps(s, x_t, there)
            mean, sigma = samplers.ddim_mean(s, there, eps, steps.eta)
            noise = jax.random.normal(jax.random.fold_in(key, i), x_t.shape)
            return mean + sigma * noise, (x_t, x_0)

        _, (x_t, x_0) = jax.lax.scan(step, x_t, jnp.arange(n)[::-1])
        # Rows of a prompt stay together, so that a batch which is split over devices stays so.
        return _rows(jnp.moveaxis(x_t, 0, 1)), _rows(jnp.moveaxis(x_0, 0, 1))

    def look(params: Params, own_params: Params, batch: Batch, key: Array) -> Seen:
        null_key, asked_key, start_key, way_key, tau_key, eps_key = jax.random.split(key, 6)
        batch = objectives.emptied(batch, how.null_tokens, null_fraction, null_key)
        b, asked = len(batch.image), how.draw(batch, asked_key)
        cond = how.condition(own, own_params[STUDENT], batch, asked)
        x_t, x_0 = draw(
            own_params[STUDENT], cond, jax.random.normal(start_key, batch.image.shape), way_key
        )
        i = jnp.tile(jnp.arange(n)[::-1], b)
        tau = jax.random.randint(tau_key, i.shape, lows[i], noisiest + 1)
        x_tau = samplers.q_sample(schedule.at(tau), x_0, jax.random.normal(eps_key, x_0.shape))
        branches = how.branches(teacher, params, batch, asked)
        scale = None if asked.scale is None else jnp.repeat(asked.scale, n)
        if scale is not None and interval:
            scale = jnp.where((tau >= interval[0]) & (tau <= interval[1]), scale, 1.0)
        cond, away = repeated(branches, n)
        if teacher.takes_guidance:
            cond = cond._replace(guidance=scale)
        by_teacher, _ = distil.shown(teacher, params, schedule, (cond, away), scale, x_tau, tau)
        return Seen(batch, asked, x_t, i, x_0, x_tau, tau, by_teacher)

    return look


def closer(own: Part, schedule: Schedule, chain: Schedule, how: Guided) -> Loss:
    """The critic's error of v on what the student drew, and how far the student is to move.

    The gradient of the second by the student's x_0 is the difference of what the critic and the
    teacher see, divided by the distance of that x_0 from what the teacher sees (Yin et al., 2023,
    "One-step diffusion with distribution matching distillation", section 3.2).

    Args:
        own: the student's network, which is the critic's too.
        schedule: the diffusion, un-respaced.
        chain: the student's steps.
        how: guidance, if it is an input.
    """

    def loss(params: dict[str, Params], seen: Seen, key: Array) -> tuple[Array, dict[str, Array]]:
        del key  # all that is random is in what was seen
        n = len(seen.i) // len(seen.batch.image)
        cond = {name: how.condition(own, params[name], seen.batch, seen.asked) for name in params}
        cond = {name: repeated(of_prompts, n) for name, of_prompts in cond.items()}
        s = schedule.at(seen.tau)
        out = own.predict(params[CRITIC], seen.x_tau, schedule.t[seen.tau], cond[CRITIC]).eps
        v = parameterization.v_of_x_0(s, seen.x_tau, out) if own.prediction == "x_0" else out
        target = parameterization.v_of_x_0(s, seen.x_tau, seen.x_0)
        error = ((v - target) ** 2).mean(axis=(1, 2, 3))
        by_critic = parameterization.x_0_of(s, seen.x_tau, out, own.prediction)
        by_critic = distil.clipped_in_noise(s, by_critic)

        far = jnp.abs(seen.x_0 - seen.by_teacher).mean(axis=(1, 2, 3), keepdims=True)
        off = jax.lax.stop_gradient((by_critic - seen.by_teacher) / jnp.maximum(far, _LEAST))
        x_0 = own.x_0(params[STUDENT], chain.at(seen.i), seen.x_t, chain.t[seen.i], cond[STUDENT])
        moved = jax.lax.stop_gradient(x_0 - off)
        apart = 0.5 * ((x_0 - moved) ** 2).mean(axis=(1, 2, 3))
        found = {"critic": error.mean(), "apart": apart.mean()}
        found |= quartiles.by_quartile("apart", apart, seen.tau, schedule.num_steps)
        return error.mean() + apart.mean(), found

    return loss


def repeated(tree: Any, n: int) -> Any:
    """Rows n times each, one after the other."""
    return jax.tree.map(lambda a: jnp.repeat(a, n, axis=0), tree)


def _rows(a: Float[Array, "b n ..."]) -> Float[Array, "bn ..."]:
    return a.reshape(-1, *a.shape[2:])
