"""Prompts as the networks take them."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.sampling import call
from glide_jax.sampling.prompts import Texts, encode_texts

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


def test_a_stage_whose_captions_named_a_style_is_given_one_but_the_negative_prompt_is_not():
    seen = []

    def tokenizer(texts, context):
        seen.append(texts)
        return np.zeros((2, len(texts), context))

    stage = lambda styles: SimpleNamespace(encode=None, context=4, styles=styles, away=False)
    loaded = SimpleNamespace(
        stages={"base": stage(("flat", "3d")), "upsample": stage(())}, tokenizer=tokenizer
    )
    wanted = call.Call(mix=(("a cat", 1.0),), negative_prompt="ugly")
    prompts = ("a dog", "a 3d dog", "")
    request = SimpleNamespace(
        stages=("base", "upsample"), call=wanted, weak=None, prompts=prompts, rows_at_once=3
    )
    encode_texts(loaded, lambda name: {}, request)
    styled = ["a dog, flat style", "a 3d dog", "", "ugly", "a cat, flat style"]
    assert seen == [styled, [*prompts, "ugly", "a cat"]]
