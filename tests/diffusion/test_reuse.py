"""Reuse of features, on a network whose prediction says which features went into it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.diffusion import guidance, reuse, schedules
from glide_jax.types import Prediction

SCHEDULE = schedules.from_alpha_bar(schedules.alpha_bar("squaredcos_cap_v2"))
COND, OTHER, NULL = (jnp.full((2, 1, 1, 1), value) for value in (3.0, -2.0, 1.0))
LIKE = jax.ShapeDtypeStruct((3, 4, 4, 1), jnp.float32)  # of three conditions


def network(x_t, t, cond, kept=None):
    """eps is the mean of the features, which are cond * t wherever the network is whole."""
    [features] = kept or (jnp.broadcast_to(cond * t[:, None, None, None], (len(t), 4, 4, 1)),)
    eps = features.mean((1, 2, 3), keepdims=True) + jnp.zeros_like(x_t)
    return Prediction(eps, eps, kept=() if kept is None else (features,))


def chain(ts, knobs, every, weights=None):
    """eps of the first image at each of `ts` in a row, and the last memory."""
    conds = [COND] if weights is None else [COND, OTHER]
    like = LIKE.update(shape=(len(conds) + 1, *LIKE.shape[1:]))
    x = jnp.zeros((2, 4, 4, 3))
    make = lambda net: guidance.assemble(net, conds, weights, NULL, knobs, SCHEDULE)[0]
    guide = reuse.remembering(make, network, every)
    memory, found = (guidance.fresh(knobs, x), reuse.fresh(x, like)), []
    for t in ts:
        out = jax.jit(lambda m, t: guide(m)(x, jnp.full(2, t)))(memory, t)
        assert out.kept == ()
        memory = out.memory
        found.append(float(out.eps[0, 0, 0, 0]))
    return found, memory


@pytest.mark.parametrize("every", [1, 2, 3])
def test_every_so_many_steps_are_whole_and_those_between_use_the_last_whole_one(every):
    ts = [90, 80, 70, 60, 50]
    found, (_, kept) = chain(ts, dict(guidance_scale=3.0), jnp.float32(every))
    used = [ts[k - k % every] for k in range(len(ts))]
    np.testing.assert_allclose(found, [t * (1.0 + 3.0 * (3.0 - 1.0)) for t in used])
    assert int(kept.taken) == len(ts)


def test_outside_of_an_interval_the_null_conditions_features_are_left():
    ts, knobs = [90, 80, 70, 60], dict(guidance_scale=3.0, guidance_interval=(0.0, 75.0))
    found, (_, kept) = chain(ts, knobs, 2)
    np.testing.assert_allclose(found[:2], [270.0, 270.0])  # the prompt's alone
    np.testing.assert_allclose(found[2:], [70 * 7.0] * 2)
    np.testing.assert_allclose(kept.features[0, :, 0, 0, 0], [70 * 3.0, 70 * 1.0])
    found, (_, kept) = chain(ts[:1], knobs, 2)
    np.testing.assert_allclose(kept.features[0, :, 0, 0, 0], [90 * 3.0, 0.0])


def test_a_mix_and_momentum_keep_the_features_of_each_condition():
    knobs = dict(guidance_scale=2.0, apg_momentum=0.0, apg_radius=jnp.inf)
    found, (_, kept) = chain([90, 80], knobs, 2, weights=jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(found, [90 * (1.0 + 2.0 * (0.5 - 1.0))] * 2, atol=1e-3)
    np.testing.assert_allclose(kept.features[1, :, 0, 0, 0], [270.0, -180.0, 90.0])
