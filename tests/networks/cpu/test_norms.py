"""GroupNorm against Flax's: the same numbers, by sums that each kind of device is quick at."""

import functools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.networks import blocks
from glide_jax.networks.cpu import norms

WAYS = {"by rows": norms._by_rows, "usual": norms._usual, "by device": norms.group_norm}
SIZES = [((2, 9, 7, 32), 8), ((3, 4, 4, 64), 32), ((1, 1, 1, 16), 4), ((2, 1, 5, 8), 8)]


def flax(x, scale, bias, groups):
    norm = nn.GroupNorm(groups, epsilon=norms.EPSILON, use_fast_variance=False)
    return norm.apply({"params": {"scale": scale, "bias": bias}}, x)


@functools.cache
def both(function, groups):
    """The norm and its three gradients, compiled once for all means."""

    def run(*args):
        *args, dy = args
        y, back = jax.vjp(partial(function, groups=groups), *args)
        return y, *back(dy)

    return jax.jit(run)


def inputs(shape, mean=0.0, dtype=jnp.float32):
    draw = lambda key, *size: jax.random.normal(jax.random.key(key), size, dtype)
    return mean + 3 * draw(0, *shape), draw(1, shape[-1]), draw(2, shape[-1]), draw(3, *shape)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("shape", "groups"), SIZES)
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_values_and_gradients_are_those_of_flax(way, shape, groups, mean):
    args = inputs(shape, mean)
    pairs = zip(both(WAYS[way], groups)(*args), both(flax, groups)(*args), strict=True)
    for found, expected in pairs:
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * max(scale, 1.0))


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_right_to_the_last_digit(way):
    with jax.enable_x64(True):
        *args, dy = inputs((2, 5, 3, 8), dtype=jnp.float64)
        function = lambda *a: (WAYS[way](*a, groups=4) * dy).sum()
        gradients = jax.grad(function, argnums=(0, 1, 2))(*args)
        for which, gradient in enumerate(gradients):
            step = 1e-6 * jax.random.normal(jax.random.key(9), args[which].shape, jnp.float64)
            moved = lambda sign, which=which, step=step: function(
                *(a + sign * step if k == which else a for k, a in enumerate(args))
            )
            np.testing.assert_allclose((moved(1) - moved(-1)) / 2, (gradient * step).sum(), 1e-6)


@pytest.mark.parametrize(("platform", "looped"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_only_a_cpu_sums_in_a_loop(platform, looped):
    *args, _ = inputs((1, 8, 8, 32))
    norm = jax.jit(partial(norms.group_norm, groups=8))
    text = norm.trace(*args).lower(lowering_platforms=(platform,)).as_text()
    assert ("while" in text) == looped


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_statistics_are_float32_whatever_goes_in(dtype):
    class Norm(nn.Module):
        @nn.compact
        def __call__(self, x):
            return blocks.GroupNorm(8, name="norm")(x)

    x = inputs((2, 6, 6, 32), mean=30.0)[0].astype(dtype)
    params = Norm().init(jax.random.key(0), x)["params"]["norm"]
    found = Norm().apply({"params": {"norm": params}}, x)
    assert found.dtype == dtype
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    expected = flax(x.astype(jnp.float32), params["scale"], params["bias"], 8).astype(dtype)
    np.testing.assert_allclose(np.float32(found), np.float32(expected), atol=0.02)
