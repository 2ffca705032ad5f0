"""A larger network starts as the network that it was made from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.errors import InputError
from glide_jax.networks import initial, zoo
from glide_jax.networks.initial import initialiser
from glide_jax.training.growing import add_layers, widen_stem
from glide_jax.types import Cond
from tests import tiny

KINDS = {
    "base": tiny.BASE,
    "upsampler on patches": tiny.UPSAMPLE,
    "base on patches": dataclasses.replace(tiny.BASE, patch=2, channel_mult=(1,), attention=()),
    "upsampler": dataclasses.replace(tiny.UPSAMPLE, patch=1),
}


def predict(config, params, cond):
    model, side = zoo.glide_model(config), config.image_size
    x_t = jax.random.normal(jax.random.key(0), (2, side, side, 3))

    @jax.jit
    def run(params, cond):
        tokens = jnp.arange(24).reshape(2, 12)
        text = model.apply({"params": params}, tokens, tokens > 3, method="encode")
        t = jnp.array([3, 700])
        return model.apply({"params": params}, x_t, t, cond._replace(text=text))

    return run(params, cond)


@pytest.mark.parametrize("kind", KINDS)
def test_a_widened_network_is_the_same_whatever_is_known(kind):
    config = KINDS[kind]
    inpainting = dataclasses.replace(config, inpaint=True)
    params, side = tiny.weights(config), config.image_size
    wide = widen_stem(params, initial.shapes(inpainting))
    assert jax.tree.map(np.shape, wide) == jax.tree.map(np.shape, initial.shapes(inpainting))
    draw = lambda seed, *shape: jax.random.normal(jax.random.key(seed), shape)
    cond = Cond(low_res=draw(1, 2, side // 4, side // 4, 3))
    expected = predict(config, params, cond)
    mask_known = (draw(3, 2, side, side, 1) > 0).astype(jnp.float32)
    known = cond._replace(known=draw(2, 2, side, side, 3), mask_known=mask_known)
    for told in (cond, known):
        found = predict(inpainting, wide, told)
        np.testing.assert_allclose(found.eps, expected.eps, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.var_frac, expected.var_frac, rtol=1e-5, atol=1e-5)


def test_an_inpainting_network_stays_as_it_is():
    config = dataclasses.replace(tiny.BASE, inpaint=True)
    params = tiny.weights(config)
    jax.tree.map(np.testing.assert_array_equal, widen_stem(params, initial.shapes(config)), params)


@pytest.mark.parametrize("other", [{"channels": 64}, {"text_layers": 2}, {"upsampler": True}])
def test_networks_that_differ_in_more_are_refused(other):
    target = dataclasses.replace(tiny.BASE, inpaint=True, **other)
    with pytest.raises(InputError, match="every field of its config but inpaint"):
        widen_stem(tiny.weights(tiny.BASE), initial.shapes(target))


@pytest.mark.slow
def test_new_attention_changes_nothing_until_it_is_trained():
    larger = dataclasses.replace(tiny.BASE, attention=(16, 8))
    params = tiny.weights(tiny.BASE)
    grown = add_layers(params, jax.jit(initialiser(larger))(jax.random.key(1)))
    assert jax.tree.map(np.shape, grown) == jax.tree.map(np.shape, initial.shapes(larger))
    expected, found = predict(tiny.BASE, params, Cond()), predict(larger, grown, Cond())
    np.testing.assert_allclose(found.eps, expected.eps, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="has no input_1"):
        add_layers(grown, params)


@pytest.mark.slow
def test_a_student_of_guidance_begins_as_its_teacher_at_every_scale():
    larger = dataclasses.replace(tiny.BASE, guidance=(1.0, 6.0))
    params = tiny.weights(tiny.BASE)
    grown = add_layers(params, jax.jit(initialiser(larger))(jax.random.key(1)))
    assert jax.tree.map(np.shape, grown) == jax.tree.map(np.shape, initial.shapes(larger))
    expected = predict(tiny.BASE, params, Cond())
    for scale in (None, np.float32([1.0, 6.0])):
        found = predict(larger, grown, Cond(guidance=scale))
        np.testing.assert_allclose(found.eps, expected.eps, rtol=1e-5, atol=1e-5)
    grown["unet"]["guidance_out"]["kernel"] += 0.1
    one, other = (predict(larger, grown, Cond(guidance=np.float32(s))) for s in ([1, 1], [1, 6]))
    np.testing.assert_array_equal(one.eps[0], other.eps[0])
    assert np.abs(one.eps[1] - other.eps[1]).max() > 1e-3
