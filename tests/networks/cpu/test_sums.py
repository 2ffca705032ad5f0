"""Sums over positions by rows, and the gradient of a bias, which is one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.networks.cpu import sums


def gradients(function, x, bias, dy):
    y, back = jax.vjp(function, x, bias)
    return y, *back(dy)


# Differentiating a plain sum adds up in bfloat16: 16,384 numbers of mean 3 came to a sixth.
@pytest.mark.parametrize("shape", [(2, 9, 7, 32), (1, 1, 1, 16), (3, 1, 5, 8), (4, 64, 64, 3)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_the_gradient_of_a_bias_is_the_exact_sum_rounded_once(shape, dtype):
    draw = lambda key, *size: 3 + jax.random.normal(jax.random.key(key), size, dtype)
    x, bias, dy = draw(0, *shape), draw(1, shape[-1]), draw(2, *shape) / np.prod(shape[:3])
    y, dx, found = jax.jit(partial(gradients, sums.add_bias))(x, bias, dy)
    np.testing.assert_array_equal(y, x + bias)
    np.testing.assert_array_equal(dx, dy)
    assert found.dtype == dtype
    exact = np.float64(dy).sum((0, 1, 2))
    rounding = max(float(jnp.finfo(dtype).eps), 2e-6)
    np.testing.assert_allclose(np.float64(found), exact, rtol=rounding, atol=0)


@pytest.mark.parametrize(("platform", "looped"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_only_a_cpu_sums_in_a_loop(platform, looped):
    x, bias = jnp.ones((1, 8, 8, 32)), jnp.ones(32)
    step = jax.jit(partial(gradients, sums.add_bias))
    text = step.trace(x, bias, x).lower(lowering_platforms=(platform,)).as_text()
    assert ("while" in text) == looped
