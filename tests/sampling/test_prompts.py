"""Prompts as the networks take them."""

import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.sampling import call
from glide_jax.sampling.prompts import Texts

EMBEDDINGS = np.random.default_rng(0).standard_normal((6, 4))  # two prompts, the empty one, three


def texts(weights):
    encode = lambda reader, line: jnp.float32(EMBEDDINGS[line : line + 1])
    return Texts(encode, 2, weights, None)


@pytest.mark.parametrize("mix", [(), (("a", 1.0),), (("a", 2.0), ("b", -0.5), ("c", 0.25))])
def test_the_clip_raises_the_weighted_sum_of_the_log_probabilities_of_a_mix(mix):
    weights = call.Call(mix=mix).mix_weights
    given = np.array([1.0, *(weight for _, weight in mix)])
    np.testing.assert_allclose(weights, given / given.sum(), rtol=1e-12)
    seen = np.random.default_rng(1).standard_normal((3, 4))  # embeddings of pictures
    rows = [0, 1, 1]
    found = (seen * np.asarray(texts(weights).clip(rows))).sum(-1)
    lines = np.stack([EMBEDDINGS[rows], *(EMBEDDINGS[[3 + k] * 3] for k in range(len(mix)))])
    expected = (weights[:, None] * (seen * lines).sum(-1)).sum(0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_every_reader_has_the_prompts_that_are_mixed_in():
    weights = call.Call(mix=(("a", 1.0), ("b", 1.0))).mix_weights
    for reader in ("base", "clip", "weak"):
        found = np.concatenate(texts(weights).mix(reader))
        np.testing.assert_array_equal(found, np.float32(EMBEDDINGS[3:5]))
