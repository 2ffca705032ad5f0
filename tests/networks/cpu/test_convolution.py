"""Gradients of convolutions: the right numbers, in a form that a loop on a CPU can afford."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.networks import initial, zoo
from glide_jax.networks.blocks import PatchConv
from glide_jax.networks.cpu.convolution import convolve
from glide_jax.types import Cond
from tests import tiny


def plain(x, kernel, stride):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("size", [(8, 8), (9, 6), (2, 5), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_those_of_the_definition(stride, size, dtype):
    draw = np.random.default_rng(0).standard_normal
    x, kernel = jnp.asarray(draw((3, *size, 5)), dtype), jnp.asarray(draw((3, 3, 5, 7)), dtype)
    rows, columns = (-(-side // stride) for side in size)
    dy = jnp.asarray(draw((3, rows, columns, 7)), dtype)

    @jax.jit
    def both(x, kernel, dy):
        runs = (jax.vjp(lambda *a, f=f: f(*a, stride), x, kernel) for f in (convolve, plain))
        return [(y, *back(dy)) for y, back in runs]

    found_all, want_all = both(x, kernel, dy)
    np.testing.assert_array_equal(found_all[0], want_all[0])
    for found, want in zip(found_all[1:], want_all[1:], strict=True):
        assert found.dtype == want.dtype == dtype
        tolerance = 1e-5 if dtype == jnp.float32 else 2e-2
        scale = float(abs(want).max())
        np.testing.assert_allclose(
            np.float32(found), np.float32(want), atol=tolerance * scale, rtol=0
        )


@pytest.mark.parametrize("size", [(32, 32), (33, 31)])
def test_large_gradients_take_fewer_multiplications_and_are_the_same(size):
    draw = np.random.default_rng(0).standard_normal
    x, kernel = jnp.float32(draw((2, *size, 192))), jnp.float32(draw((3, 3, 192, 200)))
    dy = jnp.float32(draw((2, *size, 200)))
    gradients = lambda f: jax.jit(lambda x, kernel, dy: jax.vjp(f, x, kernel)[1](dy))
    usual = lambda x, kernel: plain(x, kernel, 1)
    text = gradients(convolve).lower(x, kernel, dy).as_text()
    assert "convolution" not in text
    pairs = zip(gradients(convolve)(x, kernel, dy), gradients(usual)(x, kernel, dy), strict=True)
    for found, want in pairs:
        np.testing.assert_allclose(found, want, atol=1e-5 * float(abs(want).max()), rtol=0)


def test_only_where_it_is_differentiated_a_large_convolution_takes_fewer_multiplications():
    draw = np.random.default_rng(0).standard_normal
    x, kernel = jnp.float32(draw((4, 16, 16, 64))), jnp.float32(draw((3, 3, 64, 96)))
    forward = lambda x, kernel: jax.vjp(convolve, x, kernel)[0]
    text = lambda f, x: jax.jit(f).lower(x, kernel).as_text()
    assert "stablehlo.convolution" not in text(forward, x)
    assert "stablehlo.convolution" in text(convolve, x), "for drawing, kernels are prepared"
    assert "stablehlo.convolution" in text(forward, x[:3]), "few positions"
    y = plain(x, kernel, 1)
    np.testing.assert_allclose(forward(x, kernel), y, atol=1e-5 * float(abs(y).max()), rtol=0)


@pytest.mark.parametrize("patch", [1, 4])
def test_windows_that_do_not_overlap_are_a_convolution(patch):
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    layer = PatchConv(5, patch)
    params = layer.init(jax.random.key(1), x)
    usual = nn.Conv(5, (patch, patch), patch, "VALID")
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, usual.init(jax.random.key(1), x)
    )
    np.testing.assert_allclose(layer.apply(params, x), usual.apply(params, x), atol=1e-5)


def glide_loss(params, x):
    model, tokens = zoo.glide_model(tiny.BASE), jnp.zeros((2, tiny.BASE.text_context), jnp.int32)
    apply = lambda *args, **how: model.apply({"params": params}, *args, **how)
    text = apply(tokens, jnp.ones_like(tokens, bool), method="encode")
    return (apply(x, jnp.array([3, 500]), Cond(text)).eps ** 2).sum()


def clip_loss(params, x):
    encoder = zoo.clip_model(tiny.CLIP).image
    return encoder.apply({"params": params["image"]}, x, jnp.array([3, 500])).sum()


@pytest.mark.parametrize(
    ("loss", "config"),
    [pytest.param(glide_loss, tiny.BASE, marks=pytest.mark.slow), (clip_loss, tiny.CLIP)],
)
def test_every_gradient_in_a_loop_is_one_that_a_cpu_is_quick_at(loss, config):
    def looped(params, x):
        gradients = lambda x: jax.grad(loss, argnums=(0, 1))(params, x)
        add = lambda total, _: (jax.tree.map(jnp.add, total, gradients(total[1])), None)
        return jax.lax.scan(add, (params, x), None, length=2)[0]

    x = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    text = jax.jit(looped).lower(initial.shapes(config), x).compile().as_text()
    orders = set(re.findall(r"dim_labels=(\w+->\w+)", text))
    assert orders <= {"b01f_01io->b01f"}, orders
    assert orders or config is tiny.CLIP, "found no convolution"
