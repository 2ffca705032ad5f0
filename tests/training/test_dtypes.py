"""Half precision computes; what is kept is float32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glide_jax.diffusion import schedules
from glide_jax.networks import zoo
from glide_jax.training import objectives
from glide_jax.training.sections import Diffusion
from glide_jax.training.step import TrainState, train_step
from tests import tiny
from tests.networks.test_unet import CONFIG as TWO_LEVELS
from tests.networks.test_unet import TOKENS

CONFIG = dataclasses.replace(TWO_LEVELS, channel_mult=(1,), attention=(8,))
SCHEDULE = schedules.from_alpha_bar(schedules.alpha_bar("squaredcos_cap_v2"))


def a_step_in(dtype):
    """A step of training in `dtype`, and the state before it."""
    model = zoo.glide_model(CONFIG, dtype)
    apply = lambda params, *a, **k: model.apply({"params": params}, *a, **k)
    encode = lambda params, *a: apply(params, *a, method="encode")
    loss = objectives.text_to_image(
        apply, encode, SCHEDULE, jnp.zeros(6, jnp.int32), Diffusion(null_fraction=0.2)
    )
    tx = optax.adam(1e-3)
    state = TrainState.create(tiny.weights(CONFIG), tx, scale_loss=dtype == jnp.float16)
    image = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3), minval=-1)
    batch = objectives.Batch(image, TOKENS, TOKENS > 3)
    step = lambda state: train_step(
        state, batch, jax.random.key(0), loss_fn=loss, tx=tx, ema_decays=(0.9,)
    )
    return step, state


@pytest.mark.parametrize("dtype", [jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.slow)])
def test_a_step_in_half_precision_keeps_float32_parameters(dtype):
    step, state = a_step_in(dtype)
    after, _ = jax.eval_shape(step, state)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(after.params))
    assert jax.tree.map(jnp.result_type, after) == jax.tree.map(jnp.result_type, state)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_step_in_half_precision_moves_parameters(dtype):
    step, state = a_step_in(dtype)
    after, metrics = jax.jit(step)(state)
    assert np.isfinite(metrics["loss"])
    assert float(metrics["nonfinite"]) == 0
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), after.params, state.params)
    assert max(jax.tree.leaves(moved)) > 1e-4
