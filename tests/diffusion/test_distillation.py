"""Two steps in one: on Gaussian data, where a perfect network is known, nothing is approximate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.diffusion import distillation, grids, samplers, schedules
from glide_jax.types import Prediction

MEAN, STD = 0.1, 0.2  # small, so that clipping has nothing to do
# x_0 passes through eps in the sampler, which is 164 times as fine at the noisiest timestep.
ROUNDING = 3 * 164 * 2.0**-23
NAMES = ("squaredcos_cap_v2", "linear")


def chain(name, n, grid="trailing"):
    alpha_bar = schedules.alpha_bar(name)
    t = grids.timesteps(grid, n, alpha_bar)
    return schedules.from_alpha_bar(alpha_bar, t), alpha_bar[t]


def perfect(schedule):
    """E[x_0 | x_t] of pictures of N(MEAN, STD^2) pixels, as a function of (x_t, t)."""

    def predict(x_t, t):
        s = schedule.at_timestep(t)
        gain = s.sqrt_alpha_bar * STD**2 / (s.alpha_bar * STD**2 + 1.0 - s.alpha_bar)
        return MEAN + gain * (x_t - s.sqrt_alpha_bar * MEAN)

    return predict


def walked(schedule, predict, x_t):
    """The end of a chain of DDIM by the project's own step."""

    def denoise(x_t, t):
        s = schedule.at_timestep(t)
        return Prediction(samplers.predict_eps(s, x_t, predict(x_t, t)), jnp.zeros_like(x_t))

    step = jax.jit(samplers.ddim(denoise, schedule))
    for i in range(int(schedule.num_steps))[::-1]:
        x_t = step(x_t, jnp.int32(i), jnp.zeros_like(x_t))
    return x_t


@pytest.mark.parametrize("grid", grids.NESTED)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("leap", range(2, 9))
def test_a_grid_of_a_student_is_every_kth_timestep_of_its_teachers(name, leap, grid):
    alpha_bar = schedules.alpha_bar(name)
    for n in (1, 2, 4, 8, 16, 32, 3, 5, 25, grids.NESTED[grid] // leap):
        if leap * n > grids.NESTED[grid]:
            continue
        student, teacher = (grids.timesteps(grid, k, alpha_bar) for k in (n, leap * n))
        np.testing.assert_array_equal(student, teacher[leap - 1 :: leap])
        assert len(set(teacher)) == leap * n


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("n", "leap", "grid"),
    [(1, 2, "trailing"), (4, 2, "trailing"), (1, 3, "trailing"), (4, 3, "trailing"),
     (2, 8, "noisy")],
)  # fmt: skip
def test_a_student_of_n_steps_ends_where_its_teacher_does_in_all_of_its(name, n, leap, grid):
    (teacher, alpha_bar), (student, _) = chain(name, leap * n, grid), chain(name, n, grid)
    weight = jnp.float32(distillation.weights(alpha_bar, leap))
    x_T = jax.random.normal(jax.random.key(0), (4, 3, 3, 3))
    predict = perfect(teacher)

    def learned(x_t, t):
        i = jnp.searchsorted(teacher.t, t)
        return distillation.leap(predict, teacher, weight, x_t, i)

    expected, found = walked(teacher, predict, x_T), walked(student, learned, x_T)
    assert float(jnp.abs(expected - walked(student, predict, x_T)).max()) > 1e-3  # not so alone
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [2, 32, 500])
def test_the_target_is_the_papers_and_lies_between_the_two_predictions(name, n):
    _, alpha_bar = chain(name, n)
    weight = distillation.weights(alpha_bar)
    assert (weight >= 0).all()
    np.testing.assert_allclose(weight.sum(axis=1), 1.0, atol=1e-12)
    share = weight[:, 1]
    assert share[1] == 1.0  # the end is clean: the second prediction is the picture
    assert share[0] == 0.0  # there is no second
    signal = np.append(1.0, np.sqrt(alpha_bar))  # entry i + 1 is step i's
    noise = np.append(0.0, np.sqrt(1.0 - alpha_bar))
    x_t, x_1, x_2 = 0.7, -0.3, 0.5
    for i in range(1, n):
        now, mid, end = i + 1, i, i - 1
        x_mid = signal[mid] * x_1 + noise[mid] / noise[now] * (x_t - signal[now] * x_1)
        x_end = signal[end] * x_2 + noise[end] / noise[mid] * (x_mid - signal[mid] * x_2)
        ratio = noise[end] / noise[now]
        paper = (x_end - ratio * x_t) / (signal[end] - ratio * signal[now])  # algorithm 2
        assert x_1 + share[i] * (x_2 - x_1) == pytest.approx(paper, abs=1e-9)


def test_weights_of_x_0_are_the_papers():
    snr = np.float32([1e-4, 0.5, 1.0, 30.0])
    for name, of_x_0 in (("snr+1", snr + 1), ("truncated", np.maximum(snr, 1))):
        found = distillation.weight_of_v(jnp.asarray(snr), name)
        np.testing.assert_allclose(found, of_x_0 / (snr + 1), rtol=1e-6)
