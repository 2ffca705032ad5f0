"""The contrastive loss, on encoders that can be read."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glide_jax.diffusion import schedules
from glide_jax.training import clip_objective
from glide_jax.training.objectives import Batch

SCHEDULE = schedules.from_alpha_bar(schedules.alpha_bar("squaredcos_cap_v2"))
KEY = jax.random.key(0)


def unit(z):
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


def encode_image(model, x_t, t):
    del t
    return unit(x_t.reshape(len(x_t), -1) @ model["image"])


def encode_text(model, tokens, mask):
    del mask
    return unit(model["text"][tokens[:, 0]])


def batch(n=8, captions=8):
    image = jax.random.uniform(KEY, (n, 2, 2, 3), minval=-1)
    tokens = jnp.arange(n, dtype=jnp.int32)[:, None] % captions
    return Batch(image, tokens, jnp.ones((n, 1), bool))


def fresh(scale=1 / 0.07):
    draw = lambda k, *shape: jax.random.normal(jax.random.key(k), shape)
    return clip_objective.with_logit_scale({"image": draw(1, 12, 6), "text": draw(2, 8, 6)}, scale)


LOSS = clip_objective.contrastive(encode_image, encode_text, SCHEDULE)


def test_it_is_the_symmetric_cross_entropy_of_the_batch():
    params = fresh(scale=10.0)
    value, metrics = jax.jit(LOSS)(params, batch(), KEY)
    i_key, eps_key = jax.random.split(KEY)
    i = jax.random.randint(i_key, (8,), 0, 1000)
    s, eps = SCHEDULE.at(i), jax.random.normal(eps_key, (8, 2, 2, 3))
    x_t = s.sqrt_alpha_bar * batch().image + s.sqrt_one_minus_alpha_bar * eps
    images = encode_image(params, x_t, None)
    logits = 10.0 * images @ encode_text(params, batch().tokens, None).T
    terms = [
        optax.losses.softmax_cross_entropy_with_integer_labels(a, jnp.arange(8)).mean()
        for a in (logits, logits.T)
    ]
    assert float(value) == pytest.approx(float(sum(terms)) / 2, rel=1e-4)
    right = np.asarray(logits.argmax(axis=1) == jnp.arange(8))
    assert float(metrics["accuracy"]) == pytest.approx(right.mean())
    for k in range(4):
        inside = np.asarray(i) // 250 == k
        assert float(metrics[f"count_q{k}"]) == inside.sum()
        if inside.any():
            assert float(metrics[f"accuracy_q{k}"]) == pytest.approx(right[inside].mean())


def test_no_branch_could_make_devices_wait_for_each_other():
    """Two devices of a CPU hung in collectives inside the branches of `jnp.diagonal`."""
    gradient = jax.grad(lambda *args: LOSS(*args)[0])
    traced = str(jax.make_jaxpr(gradient)(fresh(), batch(), KEY))
    assert "dot_general" in traced
    assert "cond[" not in traced


def test_training_finds_the_captions_of_pictures():
    tx, params = optax.adam(3e-2), fresh()
    state = tx.init(params)

    @jax.jit
    def step(params, state, key):
        (_, metrics), gradient = jax.value_and_grad(LOSS, has_aux=True)(params, batch(), key)
        updates, state = tx.update(gradient, state)
        return optax.apply_updates(params, updates), state, metrics

    cleanest = []
    for k in range(150):
        params, state, metrics = step(params, state, jax.random.key(k))
        cleanest.append((float(metrics["accuracy_q0"]), float(metrics["count_q0"])))
    mean = lambda part: np.average([a for a, _ in part], weights=[n for _, n in part])
    assert mean(cleanest[-30:]) > 0.8
    assert params["log_logit_scale"] != fresh()["log_logit_scale"]


def test_a_caption_that_occurs_twice_is_right_for_both_pictures():
    text = jnp.eye(6)[jnp.array([0, 0, 1, 2, 3, 4, 5, 0])]
    image = lambda model, x_t, t: text
    loss = clip_objective.contrastive(image, lambda *_: text, SCHEDULE)
    assert float(jax.jit(loss)(fresh(), batch(), KEY)[1]["accuracy"]) == 1.0


@pytest.mark.parametrize(("scale", "right", "moves"), [(200.0, True, False), (200.0, False, True)])
def test_beyond_a_hundred_the_scale_only_comes_down(scale, right, moves):
    text = jnp.eye(8)[:, ::1] * 0.03 + jnp.ones(8)  # nearly alike, so that the loss is not 0
    image = unit(text if right else text[::-1])
    loss = clip_objective.contrastive(lambda *_: image, lambda *_: unit(text), SCHEDULE)
    params = clip_objective.with_logit_scale({}, scale)
    (_, metrics), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, batch(), KEY)
    assert float(metrics["logit_scale"]) == pytest.approx(100.0, rel=1e-5)
    assert (float(gradient["log_logit_scale"]) > 0) is moves
    assert float(gradient["log_logit_scale"]) >= 0


def test_the_scale_goes_into_the_config_of_the_model():
    model, scale = clip_objective.without_logit_scale(fresh(12.5))
    assert set(model) == {"image", "text"}
    assert scale == pytest.approx(12.5)
    assert clip_objective.without_logit_scale(fresh(300.0))[1] == pytest.approx(100.0)
