"""Samplers on data whose score is known: Gaussian pixels, where every step can be checked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.diffusion import constraints, parameterization, samplers, schedules
from glide_jax.types import Prediction

MEAN, STD = 0.3, 0.2
ALPHA_BAR = schedules.alpha_bar("squaredcos_cap_v2")
identity = lambda x_0: x_0


def gaussian(schedule):
    """The best denoiser of pixels drawn from N(MEAN, STD^2), at the schedule's own timesteps."""
    alpha_bar = jnp.float32(ALPHA_BAR)

    def denoise(x_t, t):
        a = alpha_bar[t][:, None, None, None]
        var = a * STD**2 + 1 - a
        eps = jnp.sqrt(1 - a) * (x_t - jnp.sqrt(a) * MEAN) / var
        return Prediction(eps, jnp.zeros_like(x_t))

    return denoise


def chain(step_of, num_steps, n=512, **options):
    schedule = schedules.from_alpha_bar(ALPHA_BAR, schedules.respace(num_steps), pad_to=1000)
    step = step_of(gaussian(schedule), schedule, x0_fn=identity, **options)
    keys = jax.random.split(jax.random.key(0), n)
    x_T = samplers.noise(keys, 0, (2, 2, 1))
    return jax.jit(lambda k, x: samplers.sample(step, k, x, schedule.num_steps))(keys, x_T), x_T


@pytest.mark.parametrize(
    ("step_of", "options"),
    [(samplers.ddpm, {}), (samplers.ddim, {}), (samplers.ddim, {"eta": 1.0})],
)
def test_samplers_draw_from_the_data(step_of, options):
    x_0, _ = chain(step_of, 250, **options)
    # 2,048 samples: standard errors 0.0044 of the mean and 0.0031 of the standard deviation
    assert abs(float(x_0.mean()) - MEAN) < 0.015
    assert abs(float(x_0.std()) - STD) < 0.012


def test_ddim_converges_to_the_probability_flow():
    x_0, x_T = chain(samplers.ddim, 1000, n=16)
    np.testing.assert_allclose(x_0, MEAN + STD * x_T, atol=0.01)


def test_a_chain_cut_in_pieces_is_the_same_chain():
    schedule = schedules.from_alpha_bar(ALPHA_BAR, schedules.respace(10))
    step = samplers.ddpm(gaussian(schedule), schedule)
    keys = jax.random.split(jax.random.key(1), 2)
    x_T = samplers.noise(keys, 0, (4, 4, 3))
    whole = samplers.sample(step, keys, x_T, 10)
    first = samplers.sample(step, keys, x_T, 10, 0, 4)
    np.testing.assert_array_equal(samplers.sample(step, keys, first, 10, 4, 10), whole)


def test_noise_of_an_image_does_not_depend_on_its_batch():
    keys = jax.random.split(jax.random.key(2), 4)
    full = samplers.noise(keys, 3, (4, 4, 3))
    np.testing.assert_array_equal(samplers.noise(keys[2:3], 3, (4, 4, 3)), full[2:3])


@pytest.mark.parametrize("step_of", [samplers.ddpm, samplers.ddim])
def test_the_last_step_returns_x_0_and_adds_no_noise(step_of):
    schedule = schedules.from_alpha_bar(ALPHA_BAR, schedules.respace(10))
    x_t = jax.random.normal(jax.random.key(3), (2, 4, 4, 3))
    out = step_of(gaussian(schedule), schedule)(x_t, 0, jnp.full_like(x_t, 1e6))
    p = gaussian(schedule)(x_t, jnp.zeros(2, jnp.int32))
    x_0 = constraints.clip(samplers.predict_x_0(schedule.at(0), x_t, p.eps))
    np.testing.assert_allclose(out, x_0, atol=1e-5)


def test_known_pixels_come_out_exactly():
    schedule = schedules.from_alpha_bar(ALPHA_BAR, schedules.respace(5))
    known = jnp.linspace(-1, 1, 48).reshape(1, 4, 4, 3)
    mask = jnp.zeros((1, 4, 4, 1)).at[:, :, :2].set(1.0)
    x0_fn = constraints.compose(constraints.known_pixels(known, mask), constraints.clip)
    step = samplers.ddpm(gaussian(schedule), schedule, x0_fn=x0_fn)
    keys = jax.random.split(jax.random.key(4), 1)
    x_0 = samplers.sample(step, keys, samplers.noise(keys, 0, (4, 4, 3)), 5)
    np.testing.assert_allclose((x_0 - known) * mask, jnp.zeros_like(known), atol=1e-6)


def test_v_and_eps_and_x_0_are_three_names_of_one_prediction():
    schedule = schedules.from_alpha_bar(ALPHA_BAR)
    t = jnp.array([0, 10, 500, 999])
    s, key = schedule.at(t), jax.random.key(5)
    x_0 = jax.random.uniform(key, (4, 2, 2, 3), minval=-1)
    eps = jax.random.normal(key, x_0.shape)
    x_t = samplers.q_sample(s, x_0, eps)
    v = parameterization.v_target(s, x_0, eps)
    np.testing.assert_allclose(parameterization.eps_of_v(s, x_t, v), eps, atol=1e-5)
    np.testing.assert_allclose(parameterization.v_of_x_0(s, x_t, x_0), v, atol=3e-5)
    for prediction, found in (("eps", eps), ("v", v), ("x_0", x_0)):
        network = lambda x_t, t, cond, found=found: Prediction(found, v)
        out = parameterization.predicting_eps(network, ALPHA_BAR, prediction)(x_t, t, None)
        np.testing.assert_allclose(out.eps, eps, atol=3e-5)
        np.testing.assert_array_equal(out.var_frac, v)


def test_an_error_of_x_0_is_in_v_and_eps_what_float64_makes_it():
    schedule, t = schedules.from_alpha_bar(ALPHA_BAR), np.array([0, 10, 500, 999])
    signal = np.sqrt(ALPHA_BAR[t])[:, None, None, None]
    noise = np.sqrt(1.0 - ALPHA_BAR[t])[:, None, None, None]
    x_t, wrong = np.random.default_rng(0).standard_normal((2, 4, 2, 2, 3))
    v = parameterization.v_of_x_0(schedule.at(t), jnp.float32(x_t), jnp.float32(wrong))
    np.testing.assert_allclose(v, (signal * x_t - wrong) / noise, rtol=1e-5, atol=1e-5)
    network = lambda x_t, t, cond: Prediction(jnp.float32(wrong), x_t)
    out = parameterization.predicting_eps(network, ALPHA_BAR, "x_0")(jnp.float32(x_t), t, None)
    np.testing.assert_allclose(out.eps, (x_t - signal * wrong) / noise, rtol=1e-5, atol=1e-5)


def test_quantising_gives_8_bit_pixels():
    x = jnp.linspace(-1, 1, 1001).reshape(1, 7, 11, 13)
    pixels = (samplers.quantize(x) + 1) * 127.5
    np.testing.assert_allclose(pixels, jnp.round(pixels), atol=1e-4)
    np.testing.assert_allclose(samplers.quantize(x), x, atol=1 / 255 + 1e-6)
