"""The text encoder's own loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glide_jax.networks import zoo
from glide_jax.training.text_loss import any_order_loss
from tests import tiny

TOKENS = jnp.array([[3, 4, 5, 6], [7, 8, 0, 0], [0, 0, 0, 0]])
MASK = jnp.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)


def test_only_hidden_words_count_and_they_are_not_shown():
    def spy(tokens, mask):
        hidden = MASK & ~mask
        assert not (mask & ~MASK).any()
        assert hidden[:2].any(axis=1).all()  # at least one of each caption
        np.testing.assert_array_equal(tokens, jnp.where(mask, TOKENS, 0))
        right = jax.nn.one_hot(TOKENS, 10) * 50.0
        return jnp.where(hidden[..., None], right, -right)  # wrong wherever it must not matter

    for seed in range(8):
        assert float(any_order_loss(spy, TOKENS, MASK, jax.random.key(seed))) < 1e-5


def test_the_loss_is_that_of_the_likelihood_whatever_is_hidden():
    uniform = lambda tokens, mask: jnp.zeros((*tokens.shape, 10))
    for seed in range(4):
        found = any_order_loss(uniform, TOKENS, MASK, jax.random.key(seed))
        assert float(found) == pytest.approx(np.log(10), rel=1e-5)
    nothing = any_order_loss(uniform, TOKENS, jnp.zeros_like(MASK), jax.random.key(0))
    assert float(nothing) == 0.0


def test_a_text_encoder_learns_captions_by_it():
    model, params = zoo.glide_model(tiny.BASE), tiny.weights(tiny.BASE)
    tokens = jnp.array([[5, 6, 7, 8], [5, 9, 7, 10]])
    tokens, mask = (
        jnp.pad(tokens, ((0, 0), (0, 8))),
        jnp.pad(jnp.ones((2, 4), bool), ((0, 0), (0, 8))),
    )
    logits = lambda params, *text: model.apply({"params": params}, *text, method="token_logits")
    tx = optax.adam(1e-2)

    @jax.jit
    def step(text, state, key):
        loss = lambda text: any_order_loss(
            lambda *a: logits({**params, "text": text}, *a), tokens, mask, key
        )
        value, gradient = jax.value_and_grad(loss)(text)
        updates, state = tx.update(gradient, state)
        return optax.apply_updates(text, updates), state, value

    text, values = jax.tree.map(jnp.asarray, params["text"]), []
    state = tx.init(text)
    for k in range(80):
        text, state, value = step(text, state, jax.random.key(k))
        values.append(float(value))
    assert np.mean(values[-10:]) < 0.25 * values[0]
