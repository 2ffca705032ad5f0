"""The objective of sketches, on an encoder that can be read."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glide_jax.training import sketching
from glide_jax.training.objectives import Batch
from glide_jax.types import TextCond

KEY = jax.random.key(0)
NULL = jnp.zeros(1, jnp.int32)
WIDTH = 8


def encode(params, tokens, mask):
    words = params["text"]["words"][tokens[:, 0]]
    return TextCond(jnp.where(mask, words, 0.0), {})


def batch(n=6, side=32):
    image = jax.random.uniform(KEY, (n, side, side, 3), minval=-1)
    tokens = jnp.arange(1, n + 1, dtype=jnp.int32)[:, None]
    return Batch(image, tokens, jnp.ones((n, 1), bool))


def fresh():
    words = jax.random.normal(jax.random.key(1), (8, WIDTH))
    text = {"words": words, "pool": {"kernel": jnp.eye(WIDTH)}}
    return sketching.with_sketcher({"text": text, "unet": {"x": jnp.ones(3)}})


def test_a_sketch_is_the_mean_of_squares():
    image = np.zeros((1, 32, 32, 3), np.float32)
    image[0, 2, 5, 1] = 4.0  # in square (1, 2), of two by two pixels
    small = np.asarray(sketching.small(jnp.asarray(image)))
    assert small.shape == (1, sketching.SIDE, sketching.SIDE, 3)
    assert small[0, 1, 2].tolist() == [0.0, 1.0, 0.0]
    assert small.sum() == 1.0


def test_a_fresh_sketcher_draws_grey_and_the_error_is_the_mean_square():
    params, given = fresh(), batch()
    loss = sketching.sketches(encode, NULL, null_fraction=0.0)
    value, found = jax.jit(loss)(params, given, KEY)
    target = np.asarray(sketching.small(given.image))
    assert float(value) == pytest.approx((target**2).mean(), rel=1e-5)
    spread = ((target - target.mean(axis=0)) ** 2).mean()
    assert float(found["explained"]) == pytest.approx(1 - float(value) / spread, rel=1e-4)


def test_words_are_learned_and_an_emptied_caption_is_the_mean_picture():
    given, tx, params = batch(), optax.adam(3e-2), fresh()
    loss, state = sketching.sketches(encode, NULL, null_fraction=0.3), tx.init(params)

    @jax.jit
    def step(params, state, key):
        (_, found), gradient = jax.value_and_grad(loss, has_aux=True)(params, given, key)
        updates, state = tx.update(gradient, state)
        return optax.apply_updates(params, updates), state, found

    for i in range(400):
        params, state, _ = step(params, state, jax.random.fold_in(KEY, i))
    full = sketching.sketches(encode, NULL, null_fraction=0.0)(params, given, KEY)[1]
    assert float(full["explained"]) > 0.9
    empty = sketching.sketched(params, jnp.zeros((1, WIDTH)))[0]
    mean = sketching.small(given.image).mean(axis=0)
    assert float(((empty - mean) ** 2).mean()) < 0.1 * float((mean**2).mean())
    np.testing.assert_array_equal(params["unet"]["x"], np.ones(3))


def test_an_emptied_caption_pulls_to_the_mean_and_does_not_count_as_explained():
    params, given = fresh(), batch()
    given = given._replace(mask=given.mask.at[0].set(False))
    value, found = sketching.sketches(encode, NULL, null_fraction=0.0)(params, given, KEY)
    target = np.asarray(sketching.small(given.image))
    mean, told = target.mean(axis=0), target[1:]
    assert float(value) == pytest.approx(((mean**2).mean() + 5 * (told**2).mean()) / 6, rel=1e-5)
    spread = ((target - mean) ** 2).mean()
    assert float(found["explained"]) == pytest.approx(1 - (told**2).mean() / spread, rel=1e-4)


def test_the_sketcher_stays_out_of_the_model():
    params = fresh()
    assert set(sketching.without_sketcher(params)) == {"text", "unet"}
    assert sketching.without_sketcher({"unet": 1}) == {"unet": 1}
