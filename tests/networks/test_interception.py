"""Interceptors end with their block, whatever Python leaves out."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp

from glide_jax.networks import interception


def test_an_interceptor_that_flax_does_not_take_away_is_inert(monkeypatch):
    left = []

    @contextlib.contextmanager
    def never_ending(interceptor):
        left.append(interceptor)
        yield

    monkeypatch.setattr(nn, "intercept_methods", never_ending)
    with interception.intercepting(lambda next_call, args, kwargs, context: "changed"):
        assert left[0](lambda: "own", (), {}, None) == "changed"
    assert left[0](lambda: "own", (), {}, None) == "own"


def test_an_interceptor_acts_within_its_block_alone():
    layer = nn.Dense(2)
    params = layer.init(jax.random.key(0), jnp.ones((1, 3)))
    before = layer.apply(params, jnp.ones((1, 3)))
    zero = lambda next_call, args, kwargs, context: 0 * next_call(*args, **kwargs)
    with interception.intercepting(zero):
        assert not layer.apply(params, jnp.ones((1, 3))).any()
    assert (layer.apply(params, jnp.ones((1, 3))) == before).all()
