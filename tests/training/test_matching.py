"""Distribution matching on networks that can be read."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glide_jax.diffusion import grids, samplers, schedules
from glide_jax.training import distil, matching
from glide_jax.training.sections import Distill
from glide_jax.types import Prediction
from tests.training.test_distil import (
    ALPHA_BAR,
    MEAN,
    NULL,
    SCHEDULE,
    STD,
    batch,
    encode,
    perfect,
    worded,
)

HOW = distil.Guided(NULL, (1.0, 4.0))


def steps_of(n, eta=1.0):
    chain = schedules.from_alpha_bar(ALPHA_BAR, grids.timesteps("noisy", n, ALPHA_BAR))
    return matching.Steps(chain, eta)


@pytest.mark.parametrize("n", [1, 2])
def test_a_student_of_few_steps_draws_gaussian_pictures_with_their_whole_spread(n):
    # x_0 = a x_t + b at each of some timesteps; that is all a network for this needs to be.
    knots = jnp.linspace(0.0, 999.0, 33)

    def line(params, x_t, t, cond):
        a, b = (jnp.interp(t, knots, params[k])[:, None, None, None] for k in "ab")
        return Prediction(a * x_t + b, jnp.zeros_like(x_t))

    own, plain = distil.Part(line, encode, "x_0"), distil.Guided(NULL)
    steps = steps_of(n)
    look = matching.looking(distil.Part(perfect, encode, "eps"), own, SCHEDULE, steps, plain, 0.0)
    loss = matching.closer(own, SCHEDULE, steps.chain, plain)
    tx = matching.faster_critic(optax.adam(5e-3, b1=0.5), 4.0)
    first = {"a": jnp.zeros(33), "b": jnp.zeros(33)}
    params = matching.trained(Distill("distribution", steps=n), first)
    pictures, key = batch(256), jax.random.key(0)

    @jax.jit
    def train(params):
        def update(carry, k):
            params, state = carry
            seen = look({}, params, pictures, jax.random.fold_in(key, k))
            grads = jax.grad(lambda p: loss(p, seen, key)[0])(params)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(update, (params, tx.init(params)), jnp.arange(1500))[0][0]

    seen = look({}, train(params), batch(4096), jax.random.key(9))
    drawn = np.asarray(seen.x_0.reshape(4096, n, -1)[:, -1])
    assert drawn.mean() == pytest.approx(MEAN, abs=0.01)
    assert drawn.std() == pytest.approx(STD, rel=0.1)  # a regression in one step would have 0.0


def test_each_step_is_looked_at_from_the_next_ones_noise_to_the_most():
    steps = steps_of(4)
    own = distil.Part(worded, encode, "v", takes_guidance=True)
    look = matching.looking(own, own, SCHEDULE, steps, HOW, 0.25)
    params = matching.trained(Distill("distribution", steps=4), {})
    seen = look({}, params, batch(), jax.random.key(1))
    t = np.asarray(steps.chain.t)
    np.testing.assert_array_equal(seen.i, np.tile([3, 2, 1, 0], 64))
    assert (seen.tau >= np.append(15, t[:-1])[np.asarray(seen.i)]).all()
    assert (seen.tau <= t[-1]).all()
    assert (seen.tau > t[np.asarray(seen.i)]).any()
    assert len(set(seen.tau.tolist())) > 100
    empty = ~np.asarray(seen.batch.mask).any(1)
    assert 0 < empty.sum() < len(empty)
    # The first x_t is noise, and each other one is what DDIM makes of the x_0 before.
    first = np.asarray(seen.x_t[::4])
    assert abs(first.std() - 1.0) < 0.1
    s = steps.chain.at(seen.i[:-1])
    x_0 = jnp.clip(seen.x_0[:-1], -1.0, 1.0)
    mean, sigma = samplers.ddim_mean(s, x_0, samplers.predict_eps(s, seen.x_t[:-1], x_0), 1.0)
    noise = ((seen.x_t[1:] - mean) / sigma)[np.asarray(seen.i[:-1]) > 0]
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.1)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.1)


def test_the_teacher_is_guided_within_its_interval_by_two_evaluations_or_one():
    steps, interval = steps_of(4), (300.0, 1000.0)
    two = distil.Part(worded, encode, "v")

    def guided(params, x_t, t, cond):
        out = [
            worded({}, x_t, t, cond._replace(text=cond.text._replace(pooled=words))).eps
            for words in (cond.text.pooled, jnp.zeros_like(cond.text.pooled))
        ]
        scale = cond.guidance[:, None, None, None]
        return Prediction(out[1] + scale * (out[0] - out[1]), jnp.zeros_like(x_t))

    one = distil.Part(guided, encode, "v", takes_guidance=True)
    params = matching.trained(Distill("distribution", steps=4), {})
    seen = [
        matching.looking(teacher, two, SCHEDULE, steps, HOW, 0.0, interval)(
            {}, params, batch(), jax.random.key(1)
        )
        for teacher in (two, one)
    ]
    np.testing.assert_allclose(seen[0].by_teacher, seen[1].by_teacher, atol=1e-5)
    # Below the interval the scale is 1, so that the prompt's own prediction is left.
    clean = np.asarray(seen[0].tau) < 300
    s = SCHEDULE.at(seen[0].tau)
    cond = HOW.condition(two, {}, seen[0].batch, seen[0].asked)
    x_0 = two.x_0({}, s, seen[0].x_tau, seen[0].tau, matching.repeated(cond, 4))
    assert 0 < clean.sum() < len(clean)
    np.testing.assert_allclose(seen[0].by_teacher[clean], x_0[clean], atol=1e-5)
    assert np.abs(seen[0].by_teacher - x_0)[~clean].max() > 0.01


def test_a_student_that_draws_as_its_critic_and_teacher_agree_has_nothing_to_move_by():
    steps = steps_of(2)
    part = distil.Part(lambda p, x, t, c: Prediction(p * x, jnp.zeros_like(x)), encode, "x_0")
    plain = distil.Guided(NULL)
    look = matching.looking(part, part, SCHEDULE, steps, plain, 0.0)
    loss = matching.closer(part, SCHEDULE, steps.chain, plain)
    params = matching.trained(Distill("distribution", steps=2), jnp.float32(0.5))
    key = jax.random.key(0)

    def moved(teacher):
        seen = look(jnp.float32(teacher), params, batch(), key)
        return jax.grad(lambda p: loss(p, seen, key)[0])(params), loss(params, seen, key)[1]

    grads, found = moved(0.5)
    assert float(grads[matching.STUDENT]) == 0.0
    assert float(found["apart"]) == 0.0
    assert float(grads[matching.CRITIC]) != 0.0
    grads, found = moved(0.8)
    assert float(found["apart"]) > 0.0
    assert float(grads[matching.STUDENT]) != 0.0
