"""One update: what it changes, what it leaves alone, and what it counts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glide_jax.errors import InputError
from glide_jax.training import step as steps
from glide_jax.training.step import TrainState, train_step

PARAMS = {"w": jnp.arange(1.0, 4.0), "b": jnp.float32(0.5)}


def quadratic(params, batch, key):
    """Deterministic, and a mean over the batch as every objective is."""
    del key
    error = (batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2
    return error.mean(), {"largest": error.max()}


def batch(seed=0, n=8):
    rng = np.random.default_rng(seed)
    return {"x": np.float32(rng.normal(size=(n, 3))), "y": np.float32(rng.normal(size=n))}


def program(tx, loss_fn=quadratic, decays=(0.9,), **options):
    step = partial(train_step, loss_fn=loss_fn, tx=tx, ema_decays=decays, **options)
    return jax.jit(step, donate_argnums=0)


def fresh(tx, **options):
    return TrainState.create(jax.tree.map(jnp.copy, PARAMS), tx, **options)


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_training_lowers_the_loss_and_every_average_follows_at_its_rate():
    tx = optax.adam(3e-2)
    state, step = fresh(tx, averages=2), program(tx, decays=(0.5, 0.99))
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch(), jax.random.key(0))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0]
    assert int(state.step) == 60
    near, far = (float(jnp.abs(e["w"] - state.params["w"]).max()) for e in state.ema)
    assert 0 < near < 0.3 * far


def test_the_average_starts_quickly():
    tx = optax.sgd(0.1)
    state, _ = program(tx, decays=(0.9999,))(fresh(tx), batch(), jax.random.key(0))
    expected = PARAMS["w"] + 0.9 * (state.params["w"] - PARAMS["w"])  # 1 - (1 + 0) / (10 + 0)
    np.testing.assert_allclose(state.ema[0]["w"], expected, rtol=1e-6)


def test_a_batch_in_parts_is_the_same_update():
    tx = optax.adam(1e-2)
    whole, in_parts = fresh(tx), fresh(tx)
    for k in range(3):
        whole, expected = program(tx)(whole, batch(k), jax.random.key(0))
        in_parts, found = program(tx, accumulate=4)(in_parts, batch(k), jax.random.key(0))
        assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)
    assert int(in_parts.step) == 3
    close = partial(np.testing.assert_allclose, rtol=1e-4)
    jax.tree.map(close, in_parts, whole)


def test_parts_that_do_not_divide_the_batch_are_refused():
    tx = optax.sgd(0.1)
    with pytest.raises(InputError, match=r"accumulate is 3.*8 images"):
        program(tx, accumulate=3)(fresh(tx), batch(), jax.random.key(0))


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing_but_the_counts(where):
    def spoilt(params, batch, key):
        loss, metrics = quadratic(params, batch, key)
        if where == "loss":
            return loss + batch["bad"], metrics
        # The root's slope at 0 is infinite, its value is not.
        return loss + jnp.sqrt(jnp.abs(params["b"] - params["b"]) * batch["bad"]), metrics

    tx = optax.adam(1e-2)
    step, key = program(tx, spoilt), jax.random.key(0)
    good = batch() | {"bad": np.float32(0.0)}
    bad = batch() | {"bad": np.float32(np.nan if where == "loss" else 1.0)}
    if where == "gradient":
        good, step_good = batch(), program(tx)
    else:
        step_good = step
    state, _ = step_good(fresh(tx), good, key)
    before = jax.tree.map(np.asarray, jax.device_get(state))
    for n in (1, 2):
        state, metrics = step(state, bad, key)
        assert float(metrics["nonfinite"]) == 1
        assert (int(state.skipped), int(state.skipped_in_a_row)) == (n, n)
    assert int(state.step) == 3
    assert equal(before.params, state.params)
    assert equal(before.ema, state.ema)
    assert equal(before.opt_state, state.opt_state)
    state, metrics = step_good(state, good, key)
    assert (int(state.skipped), int(state.skipped_in_a_row)) == (2, 0)
    assert float(metrics["nonfinite"]) == 0
    assert not equal(before.params, state.params)


def test_the_loss_scale_halves_on_overflow_and_doubles_after_many_good_steps():
    tx = optax.sgd(1e-3)
    first = steps.SCALES[1]

    def half(params, batch, key):
        del key
        # As a float16 network: a scaled gradient of 2 x 32768 is beyond its 65504.
        loss = (params["b"].astype(jnp.float16) * batch["gain"].astype(jnp.float16)).mean()
        return loss.astype(jnp.float32), {}

    step, state = program(tx, half), fresh(tx, scale_loss=True)
    gain = lambda value: {"gain": np.full(1, value, np.float32)}
    state, metrics = step(state, gain(2.0), jax.random.key(0))
    assert float(metrics["loss_scale"]) == first
    assert float(state.loss_scale.scale) == first / 2
    assert int(state.skipped) == 1
    state, metrics = step(state, gain(1.0), jax.random.key(0))
    assert float(metrics["grad_norm"]) == pytest.approx(1.0)  # whatever the scale
    assert int(state.loss_scale.good_steps) == 1
    almost = state.loss_scale._replace(good_steps=jnp.int32(steps.DOUBLE_AFTER - 1))
    state, _ = step(state._replace(loss_scale=almost), gain(1.0), jax.random.key(0))
    assert float(state.loss_scale.scale) == first
    assert int(state.loss_scale.good_steps) == 0


def test_no_two_parts_of_a_fresh_state_share_a_buffer():
    state = fresh(optax.adam(1e-2), averages=2, scale_loss=True)
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert len(set(pointers)) == len(pointers)


def test_a_step_compiles_once():
    tx = optax.adam(1e-2)
    state, step = fresh(tx, scale_loss=True), program(tx, accumulate=2)
    for k in range(3):
        state, _ = step(state, batch(k), jax.random.key(0))
    assert step._cache_size() == 1
