"""Functions that compute under the same settings wherever they are called."""

import contextlib

import jax
import numpy as np
import pytest

from glide_jax import compiling

ODD = {"enable_x64": True, "default_prng_impl": "rbg", "numpy_rank_promotion": "raise",
       "threefry_partitionable": False, "numpy_dtype_promotion": "strict"}  # fmt: skip


def draw(seed):
    noise = jax.random.normal(jax.random.key(seed), (2, 3))
    return noise * np.float64(2.0) + np.ones(3, np.float32)


def draws(seed):
    yield draw(seed)
    yield draw(seed + 1)


@pytest.fixture
def odd():
    """Every setting of numbers is another than usual."""
    with contextlib.ExitStack() as stack:
        for name, value in ODD.items():
            stack.enter_context(getattr(jax, name)(value))
        yield


def test_a_function_computes_in_usual_numbers_and_leaves_the_callers_alone(odd):
    within = compiling.in_usual_numbers(draw)(2**32 - 1)
    assert jax.config.jax_enable_x64
    with compiling._usual_numbers():
        expected = draw(2**32 - 1)
    assert within.dtype == np.float32
    np.testing.assert_array_equal(within, expected)


def test_so_do_the_items_of_a_generator_but_not_what_is_between_them(odd):
    items = compiling.in_usual_numbers(draws)(0)
    for item in items:
        assert item.dtype == np.float32
        assert jax.config.jax_enable_x64
        assert jax.config.jax_default_prng_impl == "rbg"


def test_without_odd_settings_nothing_is_set(monkeypatch):
    monkeypatch.setattr(jax, "enable_x64", None)
    assert compiling.in_usual_numbers(draw)(0).dtype == np.float32


def test_every_odd_setting_is_one_that_is_put_right():
    assert ODD.keys() == compiling._SETTINGS.keys()


@pytest.mark.slow
def test_a_model_draws_the_same_bits_in_64_bit_processes(tiny_full, cache, odd):
    from glide_jax.sampling.glide import load

    options = dict(steps=3, upsample_steps=2, seed=2**32 - 1, clip_guidance_scale=1.0)
    odd_picture = load(tiny_full, cache=cache)("a red circle", **options)[0]
    with compiling._usual_numbers():
        usual = load(tiny_full, cache=cache)("a red circle", **options)[0]
    np.testing.assert_array_equal(odd_picture.array, usual.array)
