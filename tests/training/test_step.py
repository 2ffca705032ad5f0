"""The training step and the objective, on a network that can be read."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glide_jax.diffusion import parameterization, samplers, schedules
from glide_jax.training import objectives
from glide_jax.training.step import TrainState, train_step
from glide_jax.types import Prediction, TextCond

SCHEDULE = schedules.from_alpha_bar(schedules.alpha_bar("squaredcos_cap_v2"))
NULL = jnp.zeros(4, jnp.int32)


def encode(params, tokens, mask):
    return TextCond(tokens.astype(jnp.float32).mean(axis=1, keepdims=True), {})


def linear(params):
    def network(x_t, t, cond):
        out = params["scale"] * x_t + params["text"] * cond.text.pooled[:, :, None, None]
        return Prediction(out, jnp.full_like(x_t, params["var"]))

    return network


def batch(key=0):
    image = jax.random.uniform(jax.random.key(key), (8, 4, 4, 3), minval=-1)
    return objectives.Batch(image, jnp.ones((8, 4), jnp.int32), jnp.ones((8, 4), bool))


PARAMS = {"scale": jnp.float32(0.0), "text": jnp.float32(0.0), "var": jnp.float32(0.5)}


def make(**options):
    return objectives.text_to_image(linear, encode, SCHEDULE, NULL, **options)


def test_training_lowers_the_loss_and_the_average_follows():
    tx = optax.adam(3e-2)
    state = TrainState.create(PARAMS, tx)
    step = jax.jit(partial(train_step, loss_fn=make(), tx=tx, ema_decay=0.9))
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch(), jax.random.key(0))
        losses.append(float(metrics["mse"]))
    assert int(state.step) == 60
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert abs(float(state.ema["scale"] - state.params["scale"])) < 0.1
    assert state.ema["scale"] != 0


def test_the_variance_term_leaves_eps_alone():
    only_vb = jax.grad(lambda p, w: make(vb_weight=w)(p, batch(), jax.random.key(1))[0])
    without, with_vb = only_vb(PARAMS, 0.0), only_vb(PARAMS, 1e-3)
    assert float(without["scale"]) == pytest.approx(float(with_vb["scale"]), rel=1e-6)
    assert without["var"] == 0
    assert with_vb["var"] != 0


@pytest.mark.parametrize(("fraction", "moves"), [(0.0, True), (1.0, False)])
def test_dropped_captions_are_empty(fraction, moves):
    gradient = jax.grad(lambda p: make(null_fraction=fraction)(p, batch(), jax.random.key(2))[0])(
        PARAMS
    )
    assert (abs(float(gradient["text"])) > 1e-6) is moves


def test_a_network_that_predicts_v_exactly_has_no_error():
    x_0 = batch().image

    def oracle(params):
        def network(x_t, t, cond):
            s = SCHEDULE.at(t)
            eps = (x_t - s.sqrt_alpha_bar * x_0) / s.sqrt_one_minus_alpha_bar
            return Prediction(parameterization.v_target(s, x_0, eps), jnp.zeros_like(x_t))

        return network

    loss = objectives.text_to_image(oracle, encode, SCHEDULE, NULL, prediction="v", vb_weight=0.0)
    value, metrics = loss(PARAMS, batch(), jax.random.key(3))
    assert float(value) < 1e-5
    assert float(metrics["mse"]) < 1e-5


def test_the_cap_on_signal_to_noise_only_lowers_clean_timesteps():
    value = lambda **o: float(make(vb_weight=0.0, **o)(PARAMS, batch(), jax.random.key(4))[0])
    assert value(max_snr=5.0) < value()
    assert value(max_snr=1e12) == pytest.approx(value(), rel=1e-5)


def test_noising_has_unit_variance_at_every_timestep():
    noise = jax.random.normal(jax.random.key(5), (1000, 4, 4, 3))
    x_t = samplers.q_sample(SCHEDULE.at(jnp.arange(1000)), jnp.zeros_like(noise), noise)
    np.testing.assert_allclose(x_t[999], noise[999], atol=1e-4)
    assert float(jnp.abs(x_t[0]).max()) < 0.1
