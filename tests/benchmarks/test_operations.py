"""Time by kind of operation: what a fusion is made of decides, and all of it is counted."""

import time

import jax
import jax.numpy as jnp

from glide_jax.benchmarks import operations
from glide_jax.networks.cpu import winograd
from glide_jax.networks.cpu.convolution import convolve
from tests.conftest import OPTIMISED


def test_every_kind_of_a_convolution_is_told():
    width = 256
    x = jax.random.normal(jax.random.key(0), (1, 32, 32, width))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, width, width))

    @jax.jit
    def both(x, kernel, tiles):
        with jax.named_scope("in_norm"):
            x = x - x.mean(axis=(1, 2), keepdims=True)
        return convolve(x, kernel), winograd.convolve(x, tiles, 4)

    args = (x, kernel, winograd.transform(kernel, 4))
    spent = operations.seconds(both.lower(*args).compile(OPTIMISED), *args, rounds=3)
    assert list(spent.values()) == sorted(spent.values(), reverse=True)
    told = {kind for kind, seconds in spent.items() if seconds > 0}
    assert told >= {
        "direct convolutions",
        "products of Winograd's tiles",
        "pixels to tiles, and what precedes",
        "pixels from tiles, and what follows",
    }
    assert "attention" not in told


def test_a_loops_operations_are_counted_and_not_the_loop_besides():
    @jax.jit
    def loop(x):
        return jax.lax.fori_loop(0, 20, lambda _, x: jnp.tanh(x @ x), x)

    x = jnp.eye(400)
    program = loop.lower(x).compile(OPTIMISED)
    began = time.perf_counter()
    spent = operations.seconds(program, x)
    assert 0 < sum(spent.values()) < time.perf_counter() - began
    assert max(spent, key=lambda kind: spent[kind]) == "other products"
