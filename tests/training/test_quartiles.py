"""Means that are right although every batch has other timesteps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.training import quartiles

by_quartile = jax.jit(partial(quartiles.by_quartile, "mse", num_steps=1000))
average = jax.jit(quartiles.average)


def test_the_average_of_steps_is_the_mean_over_all_their_images():
    rng = np.random.default_rng(0)
    i, value = rng.integers(0, 1000, (5, 6)), np.float32(rng.normal(size=(5, 6)))
    steps = [by_quartile(v, i=k) for v, k in zip(value, i, strict=True)]
    found = average({name: jnp.stack([s[name] for s in steps]) for name in steps[0]})
    for k in range(4):
        inside = i // 250 == k
        assert float(found[f"count_q{k}"]) == inside.sum()
        assert float(found[f"mse_q{k}"]) == pytest.approx(value[inside].mean(), rel=1e-5)


def test_a_value_that_is_not_finite_stays_in_its_quartile():
    found = by_quartile(jnp.array([jnp.nan, 1.0]), i=jnp.array([0, 999]))
    assert np.isnan(found["mse_q0"])
    assert [float(found[f"mse_q{k}"]) for k in (1, 2, 3)] == [0.0, 0.0, 1.0]


def test_steps_that_were_skipped_have_no_part_in_means():
    steps = {"loss": np.array([1.0, np.nan, 3.0]), "nonfinite": np.array([0.0, 1.0, 0.0])}
    found = average(steps)
    assert float(found["loss"]) == 2.0
    assert float(found["nonfinite"]) == pytest.approx(1 / 3)
    nothing = average({"loss": np.array([np.nan]), "nonfinite": np.array([1.0])})
    assert float(nothing["loss"]) == 0.0
