"""Every way to compute is the same function, and holds only while it is asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.networks import blocks, ways


def normed(x):
    norm = blocks.GroupNorm(4)
    return norm.apply({"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}, x)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_of_the_library_is_ours(causal):
    q, k, v = (jax.random.normal(jax.random.key(n), (2, 5, 3, 8)) for n in range(3))
    ours = blocks.attend(q, k, v, causal=causal)
    with ways.using(ways.parse("attention=jax")):
        theirs = blocks.attend(q, k, v, causal=causal)
    np.testing.assert_allclose(theirs, ours, atol=2e-6)
    assert ways.now() == ways.DEFAULT


def test_a_norm_in_the_networks_dtype_is_near_that_in_float32_and_another_program():
    x = 3.0 + jax.random.normal(jax.random.key(0), (2, 8, 8, 8)).astype(jnp.bfloat16)
    exact = normed(x.astype(jnp.float32))
    with ways.using(ways.parse("norm=dtype")):
        near, program = normed(x), jax.make_jaxpr(lambda x: normed(x))(x)
        slope = jax.grad(lambda x: normed(x).astype(jnp.float32).sum())(x)
    assert near.dtype == jnp.bfloat16
    assert float(jnp.abs(near.astype(jnp.float32) - exact).max()) < 0.15
    assert slope.dtype == jnp.bfloat16
    assert str(program) != str(jax.make_jaxpr(lambda x: normed(x))(x))


def test_options_of_the_compiler_are_kept_as_texts():
    way = ways.parse("norm=dtype+xla_gpu_enable_command_buffer=")
    assert way == ways.Way(norm="dtype", flags=(("xla_gpu_enable_command_buffer", ""),))
