"""Students of networks that can be read, trained to the very minimum of their loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from glide_jax.diffusion import distillation, grids, parameterization, samplers, schedules
from glide_jax.training import distil
from glide_jax.training.objectives import Batch
from glide_jax.training.sections import Diffusion
from glide_jax.types import Prediction, TextCond

ALPHA_BAR = schedules.alpha_bar("squaredcos_cap_v2")
SCHEDULE = schedules.from_alpha_bar(ALPHA_BAR)
NULL = jnp.zeros(4, jnp.int32)
MEAN, STD = 0.1, 0.15  # so small that clipping has nothing to do
PLAIN, HOW = distil.Guided(NULL), distil.Guided(NULL, (1.0, 4.0))
OPTIONS = Diffusion(prediction="v", null_fraction=0.25)


def encode(params, tokens, mask):
    return TextCond(jnp.where(mask, tokens, 0).astype(jnp.float32).mean(1, keepdims=True), {})


def batch(b=64, key=0):
    keys = jax.random.split(jax.random.key(key))
    tokens = jax.random.randint(keys[1], (b, 4), 1, 3)
    image = MEAN + STD * jax.random.normal(keys[0], (b, 2, 2, 3))
    return Batch(image, tokens, jnp.ones((b, 4), bool))


def perfect(params, x_t, t, cond):
    """The teacher of these pictures: E[x_0 | x_t], as the eps that it implies."""
    s = SCHEDULE.at(t)
    gain = s.sqrt_alpha_bar * STD**2 / (s.alpha_bar * STD**2 + 1.0 - s.alpha_bar)
    x_0 = MEAN + gain * (x_t - s.sqrt_alpha_bar * MEAN)
    return Prediction(samplers.predict_eps(s, x_t, x_0), jnp.zeros_like(x_t))


def minimum(loss, params):
    """The parameters at the minimum of a quadratic loss, by Newton's one step, in float64."""
    flat, build = ravel_pytree(params)
    of_flat = jax.jit(lambda p: loss(build(p)))
    gradient, curvature = jax.grad(of_flat)(flat), jax.hessian(of_flat)(flat)
    step = np.linalg.lstsq(np.float64(curvature), np.float64(gradient), rcond=1e-9)[0]
    return build(flat - jnp.float32(step))


@pytest.mark.slow
@pytest.mark.parametrize("own_way", [0.0, 0.5])
def test_a_student_trained_on_gaussian_pictures_takes_its_teachers_steps_two_at_a_time(own_way):
    n = 4
    t = grids.timesteps("trailing", 2 * n, ALPHA_BAR)
    chain = schedules.from_alpha_bar(ALPHA_BAR, t)

    def linear(params, x_t, t, cond):  # the student: one line for each of its steps
        i = jnp.searchsorted(jnp.asarray(t_looked), t)
        v = params["a"][i][:, None, None, None] * x_t + params["b"][i][:, None, None, None]
        return Prediction(v, jnp.zeros_like(x_t))

    t_student = grids.timesteps("trailing", n, ALPHA_BAR)
    steps, t_looked = (
        distil.Steps(chain, jnp.float32(distillation.weights(ALPHA_BAR[t]))),
        t_student,
    )
    steps, own = steps._replace(own_way=own_way), distil.Part(linear, encode, "v")
    teach = distil.of_steps(distil.Part(perfect, encode, "eps"), own, steps, PLAIN, OPTIONS)
    weigh = functools.partial(distillation.weight_of_v, name="truncated")
    loss = distil.student(own, SCHEDULE, PLAIN, weigh)
    trained = {"a": jnp.zeros(len(t_looked)), "b": jnp.zeros(len(t_looked))}
    lesson = teach({}, trained, batch(), jax.random.key(1))
    trained = minimum(lambda p: loss(p, lesson, jax.random.key(2))[0], trained)
    assert set(np.asarray(lesson.i).tolist()) == set(t_looked.tolist())
    lesson = teach({}, trained, batch(key=3), jax.random.key(4))
    assert float(loss(trained, lesson, jax.random.key(2))[0]) < 1e-9

    def walked(schedule, part, params):
        def denoise(x_t, t):
            s = SCHEDULE.at(t)
            out = part(params, x_t, t, None).eps
            x_0 = parameterization.x_0_of(s, x_t, out, "v" if part is linear else "eps")
            return Prediction(samplers.predict_eps(s, x_t, x_0), jnp.zeros_like(x_t))

        x_t = jax.random.normal(jax.random.key(5), (16, 2, 2, 3))
        step = jax.jit(samplers.ddim(denoise, schedule))
        for i in range(int(schedule.num_steps))[::-1]:
            x_t = step(x_t, jnp.int32(i), jnp.zeros_like(x_t))
        return x_t

    short = schedules.from_alpha_bar(ALPHA_BAR, t_student)
    np.testing.assert_allclose(
        walked(short, linear, trained), walked(chain, perfect, {}), atol=2e-5
    )


def worded(params, x_t, t, cond):
    """A network whose v depends on the prompt; it is not a picture's, only one to read."""
    words = cond.text.pooled[:, :, None, None]
    return Prediction(0.3 * x_t - 0.1 + 0.05 * words * (1.0 + x_t), jnp.full_like(x_t, 0.25))


def scaled(params, x_t, t, cond):
    """A student that can be right: what multiplies the words may grow with the scale."""
    words, scale = cond.text.pooled[:, :, None, None], cond.guidance[:, None, None, None]
    away = 0.0 if cond.away is None else cond.away[:, :, None, None]
    inputs = jnp.stack(jnp.broadcast_arrays(words, scale * words, away, scale * away))
    mixed = jnp.tensordot(params["c"], inputs, 1) + jnp.tensordot(params["d"], inputs, 1) * x_t
    v = params["a"] * x_t + params["b"] + mixed
    return Prediction(v, jnp.full_like(x_t, 0.25))


@pytest.mark.parametrize("away", [pytest.param(0.0, marks=pytest.mark.slow), 0.5])
def test_guidance_in_one_evaluation_is_that_in_two_at_scales_that_were_not_drawn(away):
    how = distil.Guided(NULL, (1.0, 4.0), away)
    teacher = distil.Part(worded, encode, "v")
    # Noisy timesteps, where these pictures are inside the range that nothing is clipped in.
    options = Diffusion(prediction="v", null_fraction=0.25, noisy_share=1.0, noisy_from=0.9)
    teach = distil.of_guidance(teacher, SCHEDULE, how, options)
    loss = distil.student(distil.Part(scaled, encode, "v"), SCHEDULE, how, jnp.ones_like)
    lesson = teach({}, {}, batch(), jax.random.key(1))
    inside = jnp.abs(lesson.x_0).max((1, 2, 3)) < 1.0
    lesson = jax.tree.map(lambda a: a[np.asarray(inside)], lesson)
    assert len(lesson.i) > 20
    assert float(lesson.asked.scale.min()) >= 1.0
    assert float(lesson.asked.scale.max()) <= 4.0
    start = {"a": jnp.zeros(()), "b": jnp.zeros(()), "c": jnp.zeros(4), "d": jnp.zeros(4)}
    trained = minimum(lambda p: loss(p, lesson, jax.random.key(2))[0], start)

    other = teach({}, {}, batch(key=9), jax.random.key(7))
    inside = np.asarray(jnp.abs(other.x_0).max((1, 2, 3)) < 1.0)
    other = jax.tree.map(lambda a: a[inside], other)
    assert not set(other.asked.scale.tolist()) & set(lesson.asked.scale.tolist())
    assert float(loss(trained, other, jax.random.key(2))[1]["mse"]) < 1e-9
    assert float(loss(start, other, jax.random.key(2))[1]["mse"]) > 1e-2


def test_a_lesson_is_the_guided_prediction():
    teach = distil.of_guidance(distil.Part(worded, encode, "v"), SCHEDULE, HOW, OPTIONS)
    lesson = teach({}, {}, batch(), jax.random.key(1))
    s = SCHEDULE.at(lesson.i)
    words = encode({}, lesson.batch.tokens, lesson.batch.mask).pooled[:, :, None, None]
    v = lambda words: 0.3 * lesson.x_t - 0.1 + 0.05 * words * (1.0 + lesson.x_t)
    guided = v(0.0) + lesson.asked.scale[:, None, None, None] * (v(words) - v(0.0))
    x_0 = s.sqrt_alpha_bar * lesson.x_t - s.sqrt_one_minus_alpha_bar * guided
    noisy = np.asarray(s.alpha_bar[:, 0, 0, 0]) < 0.5
    assert 0 < noisy.sum() < len(noisy)
    np.testing.assert_allclose(lesson.x_0[~noisy], x_0[~noisy], atol=1e-5)
    np.testing.assert_allclose(lesson.x_0[noisy], jnp.clip(x_0, -1.0, 1.0)[noisy], atol=1e-5)
    empty = ~np.asarray(lesson.batch.mask).any(1)
    assert 0 < empty.sum() < len(empty)


def test_the_teacher_has_no_gradient_and_the_variance_is_kept():
    teach = distil.of_guidance(distil.Part(worded, encode, "v"), SCHEDULE, HOW, OPTIONS)
    lesson = teach({}, {}, batch(), jax.random.key(1))

    def drifting(params, x_t, t, cond):
        out = scaled(PARAMS, x_t, t, cond)
        return out._replace(var_frac=out.var_frac + params)

    loss = distil.student(distil.Part(drifting, encode, "v"), SCHEDULE, HOW, jnp.ones_like)
    value, found = loss(jnp.float32(0.5), lesson, jax.random.key(0))
    assert float(found["var"]) == pytest.approx(0.25)
    assert float(value) == pytest.approx(float(found["mse"]) + 0.1 * 0.25, rel=1e-5)


PARAMS = {"a": jnp.float32(0.3), "b": jnp.float32(-0.1), "c": jnp.zeros(4), "d": jnp.zeros(4)}


def test_a_student_that_puts_noise_back_begins_at_every_step_of_its_teacher():
    t = grids.timesteps("trailing", 4, ALPHA_BAR)
    chain = schedules.from_alpha_bar(ALPHA_BAR, t)
    steps = distil.Steps(chain, jnp.float32(distillation.weights(ALPHA_BAR[t])), every=True)
    teacher = distil.Part(worded, encode, "v")
    lesson = distil.of_steps(teacher, teacher, steps, HOW, OPTIONS)(
        {}, {}, batch(), jax.random.key(1)
    )
    assert set(np.asarray(lesson.i).tolist()) == set(t.tolist())
    assert np.isfinite(lesson.x_0).all()
    last = np.asarray(lesson.i) == t[0]  # from which there is one step
    cond = HOW.condition(teacher, {}, lesson.batch, lesson.asked)
    v = worded({}, lesson.x_t, lesson.i, cond).eps
    x_0 = parameterization.x_0_of(SCHEDULE.at(lesson.i), lesson.x_t, v, "v")
    np.testing.assert_allclose(lesson.x_0[last], jnp.clip(x_0, -1.0, 1.0)[last], atol=1e-5)
    assert np.abs(lesson.x_0 - jnp.clip(x_0, -1.0, 1.0))[~last].max() > 1e-3


def test_pictures_come_to_where_they_are_looked_at_by_the_students_own_step():
    t = grids.timesteps("trailing", 8, ALPHA_BAR)
    chain = schedules.from_alpha_bar(ALPHA_BAR, t)
    weight = jnp.float32(distillation.weights(ALPHA_BAR[t], 2))
    teacher = distil.Part(worded, encode, "v")
    bright = lambda params, x_t, t, cond: Prediction(jnp.full_like(x_t, params), x_t)
    own, x_0 = distil.Part(bright, encode, "x_0"), 0.9

    def looked(own_way):
        steps = distil.Steps(chain, weight, own_way=own_way)
        teach = distil.of_steps(teacher, own, steps, HOW, OPTIONS)
        return teach({}, jnp.float32(x_0), batch(), jax.random.key(1))

    data, came = looked(0.0), looked(1.0)
    np.testing.assert_array_equal(data.i, came.i)
    first = np.asarray(data.i) == t[-1]  # before which there is no step
    np.testing.assert_array_equal(data.x_t[first], came.x_t[first])
    before = t[np.minimum(np.searchsorted(t, data.i) + 2, len(t) - 1)]
    as_images = lambda values: values[:, None, None, None]
    signal = lambda i: as_images(np.sqrt(ALPHA_BAR[np.asarray(i)]))
    noise = lambda i: as_images(np.sqrt(1.0 - ALPHA_BAR[np.asarray(i)]))
    image, rows = batch().image, ~first
    start = signal(before) * image
    start += noise(before) * (data.x_t - signal(data.i) * image) / noise(data.i)
    kept = (start - signal(before) * x_0) / noise(before)
    there = signal(data.i) * x_0 + noise(data.i) * kept
    np.testing.assert_allclose(came.x_t[rows], there[rows], atol=1e-4)
    assert np.abs(came.x_t[rows] - data.x_t[rows]).mean() > 0.1
