"""Distillation: what a teacher shows, and a student's loss on it.

A teacher's parameters are an argument that is not differentiated. A student has the teacher's
network, whose output is v or x_0, and it learns the picture that the teacher's sampler would go
towards.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from glide_jax.diffusion import constraints, distillation, guidance, parameterization, samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.training import objectives, quartiles
from glide_jax.training.objectives import Batch
from glide_jax.training.sections import Diffusion
from glide_jax.types import Cond, Image, Loss, Network, Params, Prediction, TextCond

# The student's variance is kept at the teacher's, which a sampler such as ddpm goes on needing.
_OF_VARIANCE = 0.1


class Part(NamedTuple):
    """A network, teacher's or student's, as functions of its parameters."""

    predict: Callable[..., Prediction]  # (params, x_t, t, cond)
    encode: Callable[..., TextCond | None]  # (params, tokens, mask)
    prediction: str  # the meaning of its output
    takes_guidance: bool = False  # the scale is an input; else guidance is two evaluations

    def bind(self, params: Params) -> Network:
        """The network of these parameters."""
        return lambda x_t, t, cond: self.predict(params, x_t, t, cond)

    def x_0(
        self, params: Params, s: Schedule, x_t: Image, t: Int[Array, " b"], cond: Cond
    ) -> Image:
        """The picture that the network takes x_t for.

        Args:
            params: its parameters.
            s: a schedule's numbers at each picture's step.
            x_t: (b, h, w, c).
            t: timesteps.
            cond: the condition.
        """
        return parameterization.x_0_of(s, x_t, self.predict(params, x_t, t, cond).eps,
                                       self.prediction)  # fmt: skip


Predict = Callable[[Image, Array], Image]  # x_0 at (x_t, t)


class Steps(NamedTuple):
    """The steps that a teacher takes."""

    chain: Schedule
    weight: Float[Array, "n k"]  # see `distillation.weights`; a student's step is k of them
    every: bool = False  # a student begins at each of them, and not at every k-th
    own_way: float = 0.0  # how many pictures come to their step by the student's before

    def draw_own_way(self, i: Int[Array, " b"], key: Array) -> Bool[Array, " b"]:
        """Which pictures come to their step so; before the first there is none."""
        leap, drawn = self.weight.shape[1], jax.random.bernoulli(key, self.own_way, i.shape)
        return drawn & (i + leap < self.chain.num_steps)


class Asked(NamedTuple):
    """The guidance of each picture; all is None where it is no input."""

    scale: Float[Array, " b"] | None = None
    tokens: Int[Array, "b n"] | None = None  # the prompt to keep away from, mostly the empty one
    mask: Bool[Array, "b n"] | None = None


class Lesson(NamedTuple):
    """A batch as a student sees it: where it looks, and what the teacher found there."""

    batch: Batch  # captions as the teacher read them
    asked: Asked
    x_t: Image
    i: Int[Array, " b"]  # steps of the trained diffusion
    x_0: Image
    var_frac: Image | None  # None where the student's is not used


class Guided(NamedTuple):
    """How guidance is an input, and the empty prompt."""

    null_tokens: Int[Array, " n"]  # the mask of the empty prompt is all False
    scales: tuple[float, ...] = ()  # the least and the largest; () where it is no input
    away_fraction: float = 0.0  # how many pictures keep away from another's caption

    def draw(self, batch: Batch, key: Array) -> Asked:
        """Scales drawn evenly, and prompts to keep away from."""
        b, (scale_key, away_key) = len(batch.image), jax.random.split(key)
        if not self.scales:
            return Asked()
        scale = jax.random.uniform(scale_key, (b,), minval=self.scales[0], maxval=self.scales[1])
        if not self.away_fraction:
            return Asked(scale)
        other = jax.random.bernoulli(away_key, self.away_fraction, (b, 1))
        tokens, mask = (jnp.roll(rows, 1, axis=0) for rows in (batch.tokens, batch.mask))
        return Asked(scale, jnp.where(other, tokens, self.null_tokens), mask & other)

    def empty(self, part: Part, params: Params) -> TextCond | None:
        """The empty prompt's encoding, leading axis 1."""
        mask = jnp.zeros((1, len(self.null_tokens)), bool)
        return part.encode(params, self.null_tokens[None], mask)

    def condition(self, part: Part, params: Params, batch: Batch, asked: Asked) -> Cond:
        """The condition of a network that takes what is asked.

        Args:
            part: the network.
            params: its parameters.
            batch: captions and planes.
            asked: see `draw`.
        """
        cond = objectives.condition(batch, part.encode(params, batch.tokens, batch.mask))
        away, empty = None, None
        if asked.tokens is not None:
            away, empty = part.encode(params, asked.tokens, asked.mask), self.empty(part, params)
        if away is not None and empty is not None:
            cond = cond._replace(away=away.pooled - empty.pooled)
        return cond._replace(guidance=asked.scale)

    def branches(
        self, part: Part, params: Params, batch: Batch, asked: Asked
    ) -> tuple[Cond, Cond | None]:
        """A teacher's condition, and where guidance is two evaluations, the one to keep away from.

        Args:
            part: the teacher.
            params: its parameters.
            batch: captions and planes.
            asked: see `draw`.
        """
        if part.takes_guidance or asked.scale is None:
            return self.condition(part, params, batch, asked), None
        cond = objectives.condition(batch, part.encode(params, batch.tokens, batch.mask))
        if asked.tokens is None:
            b = len(batch.image)
            text = jax.tree.map(
                lambda a: jnp.broadcast_to(a, (b, *a.shape[1:])), self.empty(part, params)
            )
        else:
            text = part.encode(params, asked.tokens, asked.mask)
        return cond, cond._replace(text=text)


def clipped_in_noise(s: Schedule, x_0: Image) -> Image:
    """x_0, clipped where there is more noise than signal.

    There guidance and errors of eps lead far out of a picture's range, which the sampler cuts off.
    Elsewhere that cut would only be noise in what is learnt.
    """
    return jnp.where(s.alpha_bar < 0.5, constraints.clip(x_0), x_0)


def shown(
    teacher: Part,
    params: Params,
    schedule: Schedule,
    branches: tuple[Cond, Cond | None],
    scale: Float[Array, " b"] | None,
    x_t: Image,
    i: Int[Array, " b"],
) -> tuple[Image, Image | None]:
    """A teacher's guided x_0, see `clipped_in_noise`, and its variance's fraction.

    Args:
        teacher: the network.
        params: its parameters.
        schedule: the diffusion, un-respaced.
        branches: see `Guided.branches`.
        scale: guidance's, where it is two evaluations.
        x_t: (b, h, w, c).
        i: steps of the schedule.
    """
    cond, away = branches
    denoise = guidance.conditional(teacher.bind(params), cond)
    if away is not None:
        assert scale is not None, "guidance has scales"
        # Guidance is linear, so it is the same for every meaning of the output.
        denoise = guidance.classifier_free(
            teacher.bind(params), cond, away, scale[:, None, None, None]
        )
    s, out = schedule.at(i), denoise(x_t, schedule.t[i])
    x_0 = parameterization.x_0_of(s, x_t, out.eps, teacher.prediction)
    return clipped_in_noise(s, x_0), out.var_frac


# (the teacher's parameters, the student's, batch, key) to a `Lesson` or a `matching.Seen`
Teach = Callable[[Params, Params, Batch, Array], Any]


def of_guidance(teacher: Part, schedule: Schedule, how: Guided, options: Diffusion) -> Teach:
    """Lessons in classifier-free guidance (Meng et al., 2022, algorithm 1).

    Args:
        teacher: a network with and without prompts.
        schedule: the diffusion, un-respaced.
        how: the range of scales.
        options: fractions.
    """

    def teach(params: Params, own: Params, batch: Batch, key: Array) -> Lesson:
        del own
        *i_keys, eps_key, null_key, asked_key = jax.random.split(key, 5)
        batch = objectives.emptied(batch, how.null_tokens, options.null_fraction, null_key)
        b = len(batch.image)
        i = objectives.drawn_steps(tuple(i_keys), b, schedule.num_steps, options)
        s, eps = schedule.at(i), jax.random.normal(eps_key, batch.image.shape)
        x_t, asked = samplers.q_sample(s, batch.image, eps), how.draw(batch, asked_key)
        branches = how.branches(teacher, params, batch, asked)
        x_0, var_frac = shown(teacher, params, schedule, branches, asked.scale, x_t, i)
        return Lesson(batch, asked, x_t, i, x_0, var_frac)

    return teach


def of_steps(teacher: Part, own: Part, steps: Steps, how: Guided, options: Diffusion) -> Teach:
    """Lessons in two or more steps of DDIM at once (Salimans & Ho, 2022, algorithm 2).

    Args:
        teacher: a network that is evaluated once a step.
        own: the student's.
        steps: the teacher's.
        how: guidance, if it is an input.
        options: fractions.
    """
    chain, leap = steps.chain, steps.weight.shape[1]
    stride = 1 if steps.every else leap

    def predicting(part: Part, params: Params, batch: Batch, asked: Asked) -> Predict:
        cond = how.condition(part, params, batch, asked)

        def predict(x_t: Image, t: Array) -> Image:
            return constraints.clip(part.x_0(params, chain.at_timestep(t), x_t, t, cond))

        return predict

    def teach(params: Params, own_params: Params, batch: Batch, key: Array) -> Lesson:
        *i_keys, eps_key, null_key, asked_key = jax.random.split(key, 5)
        batch = objectives.emptied(batch, how.null_tokens, options.null_fraction, null_key)
        b, n = len(batch.image), chain.num_steps // stride
        i = stride * objectives.drawn_steps(tuple(i_keys), b, n, options) + stride - 1
        eps = jax.random.normal(eps_key, batch.image.shape)
        x_t, asked = samplers.q_sample(chain.at(i), batch.image, eps), how.draw(batch, asked_key)
        by_teacher = predicting(teacher, params, batch, asked)
        if steps.own_way:
            by_itself = predicting(own, own_params, batch, asked)
            before = samplers.q_sample(chain.at(i + leap), batch.image, eps)
            came = steps.draw_own_way(i, jax.random.fold_in(key, 0))
            x_came = distillation.far_step(by_itself, chain, before, i + leap, i)
            x_t = jnp.where(came[:, None, None, None], x_came, x_t)
        x_0 = distillation.leap(by_teacher, chain, steps.weight, x_t, i)
        return Lesson(batch, asked, x_t, chain.t[i], x_0, None)

    return teach


def student(part: Part, schedule: Schedule, how: Guided, weigh: Callable[[Array], Array]) -> Loss:
    """The weighted error of the student's v on a `Lesson`.

    Args:
        part: the student's network, whose output is v or x_0.
        schedule: the diffusion, un-respaced.
        how: guidance, if it is an input.
        weigh: gives the weight of each picture's error from its signal-to-noise ratio.
    """

    def loss(params: Params, lesson: Lesson, key: Array) -> tuple[Array, dict[str, Array]]:
        del key  # a student has no dropout: it is to be one function, which the teacher is
        s, t = schedule.at(lesson.i), schedule.t[lesson.i]
        cond = how.condition(part, params, lesson.batch, lesson.asked)
        out = part.predict(params, lesson.x_t, t, cond)
        v = out.eps
        if part.prediction == "x_0":
            v = parameterization.v_of_x_0(s, lesson.x_t, v)
        target = parameterization.v_of_x_0(s, lesson.x_t, lesson.x_0)
        mse = ((v - target) ** 2).mean(axis=(1, 2, 3))
        snr = schedule.alpha_bar[lesson.i] / (1.0 - schedule.alpha_bar[lesson.i])
        total = (weigh(snr) * mse).mean()
        found = {"mse": mse.mean()}
        if lesson.var_frac is not None:
            found["var"] = ((out.var_frac - lesson.var_frac) ** 2).mean()
            total += _OF_VARIANCE * found["var"]
        return total, found | quartiles.by_quartile("mse", mse, lesson.i, schedule.num_steps)

    return loss
