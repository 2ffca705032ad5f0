"""The networks as a whole: what they see and what they do not."""

import dataclasses
import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.errors import InputError
from glide_jax.networks import zoo
from glide_jax.types import Cond
from tests import tiny

TINY = zoo.ModelConfig(
    image_size=16,
    channels=32,
    channel_mult=(1, 2),
    res_blocks=1,
    attention=(8,),
    head_channels=32,
    text_width=32,
    text_layers=1,
    text_heads=2,
    text_context=8,
    vocab_size=50,
)
COUNTS = {
    "base": 385_030_726,
    "upsample": 398_361_286,
    "base-inpaint": 385_037_638,
    "upsample-inpaint": 398_368_198,
    "paper-base": 3_554_414_086,
    "paper-upsample": 1_540_932_998,
}
KINDS = {
    "base": {},
    "upsample": {"upsampler": True},
    "inpaint": {"inpaint": True},
    "both": {"inpaint": True, "upsampler": True},
    "patches": {"patch": 2, "attention": (8, 4)},
    "no text": {"text_width": 0},
}


def make(config):
    """A model, parameters none of which is idle, and inputs."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.float32(rng.standard_normal(shape))
    x_t, t = draw(2, 16, 16, 3), jnp.array([3, 700])
    tokens = jnp.arange(16).reshape(2, 8)
    mask = jnp.arange(8)[None] < jnp.array([[3], [8]])
    mask_known = jnp.round(jnp.abs(draw(2, 16, 16, 1)))
    cond = Cond(low_res=draw(2, 4, 4, 3), known=draw(2, 16, 16, 3), mask_known=mask_known)
    return zoo.glide_model(config), tiny.weights(config), x_t, t, tokens, mask, cond


@functools.cache
def program(model, method=None):
    return jax.jit(partial(model.apply, method=method))


def predict(model, params, x_t, t, tokens, mask, cond):
    text = program(model, "encode")({"params": params}, tokens, mask)
    return program(model)({"params": params}, x_t, t, cond._replace(text=text))


@pytest.mark.parametrize("name", COUNTS)
def test_named_sizes_have_the_published_parameter_counts(name):
    config = zoo.named(name)
    model, size = zoo.glide_model(config), config.image_size
    image = jnp.zeros((1, size, size, 3))
    tokens = jnp.zeros((1, config.text_context), jnp.int32)
    cond = Cond(low_res=image)
    init = lambda: model.init(
        jax.random.key(0), tokens, tokens > 0, image, tokens[:, 0], cond, method="initialise"
    )
    shapes = jax.eval_shape(init)
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)) == COUNTS[name]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_predicts_at_the_size_of_x_t(kind):
    out = predict(*make(dataclasses.replace(TINY, **KINDS[kind])))
    assert out.eps.shape == out.var_frac.shape == (2, 16, 16, 3)
    assert np.isfinite(out.eps).all()


def test_every_input_matters():
    config = dataclasses.replace(TINY, **KINDS["both"])
    model, params, x_t, t, tokens, mask, cond = make(config)
    base = predict(model, params, x_t, t, tokens, mask, cond).eps
    changed = {
        "x_t": (x_t + 0.1, t, tokens, mask, cond),
        "t": (x_t, t + 1, tokens, mask, cond),
        "tokens": (x_t, t, tokens + 1, mask, cond),
        "mask": (x_t, t, tokens, ~mask, cond),
        "low_res": (x_t, t, tokens, mask, cond._replace(low_res=cond.low_res + 0.1)),
        "known": (x_t, t, tokens, mask, cond._replace(known=cond.known + 0.1)),
        "mask_known": (x_t, t, tokens, mask, cond._replace(mask_known=1 - cond.mask_known)),
    }
    for name, inputs in changed.items():
        assert np.abs(predict(model, params, *inputs).eps - base).max() > 1e-4, name


def test_what_is_under_the_inpainting_mask_is_never_seen():
    model, params, x_t, t, tokens, mask, cond = make(dataclasses.replace(TINY, inpaint=True))
    cond = cond._replace(mask_known=jnp.clip(cond.mask_known, 0, 1))
    hidden = cond._replace(known=cond.known + 5 * (1 - cond.mask_known))
    first = predict(model, params, x_t, t, tokens, mask, cond).eps
    np.testing.assert_array_equal(predict(model, params, x_t, t, tokens, mask, hidden).eps, first)


def test_masked_tokens_are_never_seen():
    model, params, x_t, t, tokens, mask, cond = make(TINY)
    other = jnp.where(mask, tokens, 49)
    first = predict(model, params, x_t, t, tokens, mask, cond).eps
    np.testing.assert_array_equal(predict(model, params, x_t, t, other, mask, cond).eps, first)


def test_an_image_does_not_depend_on_its_batch():
    model, params, x_t, t, tokens, mask, cond = make(TINY)
    both = predict(model, params, x_t, t, tokens, mask, cond).eps
    second = jax.tree.map(lambda a: a[1:], (x_t, t, tokens, mask, cond))
    np.testing.assert_allclose(predict(model, params, *second).eps, both[1:], atol=1e-5)


def test_sizes_that_the_downsamplings_divide_all_run():
    model, params, x_t, t, tokens, mask, cond = make(TINY)
    wide = jnp.concatenate([x_t, x_t], axis=2)
    assert predict(model, params, wide, t, tokens, mask, cond).eps.shape == (2, 16, 32, 3)


def test_an_unknown_size_names_the_known_ones():
    with pytest.raises(InputError, match="upsample"):
        zoo.named("huge")


def test_words_stay_different_through_a_fresh_text_encoder():
    config = dataclasses.replace(TINY, text_width=64, text_layers=6)
    model = zoo.glide_model(config)
    tokens = jnp.array([[5, 6, 7, 8, 0, 0, 0, 0], [5, 9, 7, 8, 0, 0, 0, 0]])
    inputs = (tokens, tokens > 0)
    text, _ = jax.jit(partial(model.init_with_output, method="encode"))(jax.random.key(0), *inputs)
    for name, both in text.keys_values.items():
        first, second = both[0, 1], both[1, 1]  # of the one word that differs
        assert jnp.linalg.norm(first - second) > 0.5 * jnp.linalg.norm(first), name
