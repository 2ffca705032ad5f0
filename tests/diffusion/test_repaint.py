"""Where chains start and go back, and windows, on numbers and networks that one can read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.diffusion import repaint, samplers, schedules, tiling
from glide_jax.diffusion.repaint import Resampling
from glide_jax.types import Cond, Prediction

ALPHA_BAR = schedules.alpha_bar("squaredcos_cap_v2")
SCHEDULE = schedules.from_alpha_bar(ALPHA_BAR, schedules.respace(10))


@pytest.mark.parametrize(("strength", "left_out"), [(1.0, 0), (0.999, 1), (0.5, 5), (1e-4, 10)])
def test_a_chain_leaves_out_the_steps_noisier_than_its_strength(strength, left_out):
    assert repaint.skipped(SCHEDULE, 1000, strength) == left_out


def test_a_chain_from_a_picture_starts_at_its_steps_noise():
    x_0 = jnp.linspace(-1, 1, 48).reshape(1, 4, 4, 3)
    noise = jax.random.normal(jax.random.key(0), x_0.shape)
    for first in (0, 3, 9):
        expected = samplers.q_sample(SCHEDULE.at(jnp.int32(9 - first)), x_0, noise)
        np.testing.assert_array_equal(repaint.noised(SCHEDULE, x_0, noise, first), expected)
    np.testing.assert_array_equal(repaint.noised(SCHEDULE, x_0, noise, 10), x_0)


def walk(num_steps: int, jump: int, repeats: int) -> list[int]:
    k = np.arange(num_steps * repeats)
    step = jax.vmap(lambda k: repaint.step_of_walk(k, num_steps, Resampling(jump, repeats)))
    return step(jnp.asarray(k)).tolist()


def test_each_stretch_is_walked_as_often_as_asked_and_the_rest_is_a_stretch():
    assert walk(5, 2, 1) == [4, 3, 2, 1, 0]
    assert walk(5, 2, 2) == [4, 3, 4, 3, 2, 1, 2, 1, 0, 0]
    assert walk(4, 1, 3) == [3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert walk(3, 99, 2) == [2, 1, 0, 2, 1, 0]


def test_resampling_keeps_the_distribution_of_the_data():
    mean, std = 0.3, 0.2

    def exact(x_t, i, noise, history):
        """The true reverse step of pixels from N(mean, std^2), whatever its length."""
        s = SCHEDULE.at(i)
        spread = s.alpha_bar * std**2 + 1 - s.alpha_bar  # of x_t
        x_0 = mean + s.sqrt_alpha_bar * std**2 / spread * (x_t - s.sqrt_alpha_bar * mean)
        var = s.var + s.mean_x_0**2 * std**2 * (1 - s.alpha_bar) / spread
        return s.mean_x_0 * x_0 + s.mean_x_t * x_t + jnp.sqrt(var) * noise, history

    keys = jax.random.split(jax.random.key(0), 512)
    x_T = samplers.noise(keys, 0, (2, 2, 1))

    @jax.jit
    def run(jump, repeats):
        how = Resampling(jump, repeats)
        end = repaint.length(SCHEDULE, 0, how)
        solver = repaint.resampled(exact, SCHEDULE, keys, 0, how)
        return samplers.solve(solver, keys, x_T, (), end, 0, end)[0]

    once, often = run(10, 1), run(4, 3)
    # 2,048 samples: standard errors 0.0044 of the mean and 0.0031 of the standard deviation
    for x_0 in (once, often):
        assert abs(float(x_0.mean()) - mean) < 0.015
        assert abs(float(x_0.std()) - std) < 0.01
    assert float(jnp.abs(once - often).mean()) > 0.1  # another draw
    assert run._cache_size() == 1
    np.testing.assert_allclose(once, samplers.solve(exact, keys, x_T, (), 10, 0, 10)[0], atol=1e-6)


def test_going_back_forgets_what_a_solver_remembers():
    seen = []

    def solver(x_t, i, noise, history):
        seen.append((int(i), int(history)))
        return x_t, history + 1

    keys = jax.random.split(jax.random.key(0), 1)
    how = Resampling(2, 2)
    back = repaint.resampled(solver, SCHEDULE, keys, 6, how)
    x_t, history = jnp.zeros((1, 2, 2, 1)), jnp.int32(0)
    total = int(repaint.length(SCHEDULE, 6, how))
    for k in range(6, total):
        x_t, history = back(x_t, jnp.int32(total - 1 - k), x_t, history)
    assert seen == [(3, 0), (2, 1), (3, 0), (2, 1), (1, 2), (0, 3), (1, 0), (0, 1)]


def test_slerp_ends_where_it_should_and_keeps_the_amount_of_noise():
    a, b = jax.random.normal(jax.random.key(1), (2, 5, 8, 8, 3))
    out = samplers.slerp(a, b, jnp.linspace(0.0, 1.0, 5))
    np.testing.assert_array_equal(out[0], a[0])
    np.testing.assert_array_equal(out[4], b[4])
    assert float(jnp.abs(out.std((1, 2, 3)) - 1.0).max()) < 0.15
    np.testing.assert_allclose(samplers.slerp(a, a, jnp.full(5, 0.3)), a, atol=1e-6)


@pytest.mark.parametrize(
    ("side", "count", "whole"), [(5, 1, 8), (8, 1, 8), (9, 2, 14), (20, 3, 20)]
)
def test_windows_cover_a_side(side, count, whole):
    assert tiling.windows_across(side, 8, 2) == count
    assert tiling.covered(side, 8, 2) == whole


def test_weights_of_windows_sum_to_one_everywhere():
    weights, total = tiling.window_weights(4, 8, 2), np.zeros(26)
    for k, row in enumerate(weights):
        total[6 * k : 6 * k + 8] += row
    np.testing.assert_allclose(total, 1.0)
    np.testing.assert_array_equal(tiling.window_weights(1, 8, 2), np.ones((1, 8)))


def pointwise(x_t, t, cond):
    """A network that sees each pixel, its low-res neighbour, its time and its text."""
    low = cond.low_res.repeat(2, 1).repeat(2, 2)
    eps = 2 * x_t + low + t[:, None, None, None] + cond.text[:, None, None, None]
    return Prediction(eps, x_t - low)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_windows_of_a_network_of_single_pixels_are_the_whole(batch):
    key = jax.random.key(2)
    x_t, low = jax.random.normal(key, (2, 20, 14, 3)), jax.random.normal(key, (2, 10, 7, 3))
    inputs = x_t, jnp.array([3, 5]), Cond(text=jnp.array([0.5, 7.0]), low_res=low)
    out = tiling.tiled(pointwise, 8, 2, 2, batch)(*inputs)
    for part, whole in zip(out[:2], pointwise(*inputs)[:2], strict=True):
        np.testing.assert_allclose(part, whole, rtol=2e-6, atol=1e-6)


def test_a_canvas_of_one_window_is_the_network_itself():
    key = jax.random.key(3)
    x_t, low = jax.random.normal(key, (2, 8, 8, 3)), jax.random.normal(key, (2, 4, 4, 3))
    inputs = x_t, jnp.array([3, 5]), Cond(text=jnp.array([0.5, 7.0]), low_res=low)
    out, whole = tiling.tiled(pointwise, 8, 2, 2, 4)(*inputs), pointwise(*inputs)
    np.testing.assert_array_equal(out.eps, whole.eps)
    np.testing.assert_array_equal(out.var_frac, whole.var_frac)


def test_windows_that_disagree_meet_halfway():
    def by_window(x_t, t, cond):  # each window says the number of its first pixel
        first = x_t[:, :1, :1, :]
        return Prediction(jnp.broadcast_to(first, x_t.shape), jnp.zeros_like(x_t))

    x_t = jnp.broadcast_to(jnp.arange(14.0)[None, None, :, None], (1, 8, 14, 3))
    cond = Cond(text=jnp.zeros(1), low_res=jnp.zeros((1, 4, 7, 3)))
    eps = tiling.tiled(by_window, 8, 2, 2, 4)(x_t, jnp.zeros(1, jnp.int32), cond).eps[0, 0, :, 0]
    np.testing.assert_allclose(eps, [0] * 6 + [1.5, 4.5] + [6] * 6, atol=1e-6)


def test_more_windows_take_memory_for_their_canvas_alone():
    def wide(x_t, t, cond):  # 64 KB of activations a window
        inside = jnp.tanh(jnp.broadcast_to(x_t[..., :1], (*x_t.shape[:3], 256)) * t[0])
        return Prediction(x_t * inside.sum(-1, keepdims=True), x_t + jnp.cos(inside).mean())

    def temporary(side):
        x_t = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
        low_res = jax.ShapeDtypeStruct((1, side // 2, side // 2, 3), jnp.float32)
        run = jax.jit(lambda x, low: tiling.tiled(wide, 8, 2, 2, 1)(
            x, jnp.ones(1, jnp.int32), Cond(low_res=low)
        ))  # fmt: skip
        return run.lower(x_t, low_res).compile().memory_analysis().temp_size_in_bytes

    two, many = temporary(14), temporary(62)  # 4 windows and 100
    assert many - two < 6 * (62**2 - 14**2) * 3 * 4  # a few copies of the canvas
