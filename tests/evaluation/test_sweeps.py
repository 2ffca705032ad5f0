"""Runs over scales, steps and samplers."""

import pytest

from glide_jax.evaluation import setup, sweeps
from glide_jax.sampling import call


@pytest.mark.parametrize("zero", [0, 0.0, "0", "0.0"])
def test_the_curve_of_the_clip_begins_without_any_guidance(zero):
    none, some = sweeps.combinations([], [zero, 3])
    assert (none["guidance_scale"], none["clip_guidance_scale"]) == (1, zero)
    assert some == {"clip_guidance_scale": 3}
    assert call.parse(none).base["guidance_scale"] == 1.0
    assert call.parse(some).replaces_null
    assert setup.run_name(none) != setup.run_name(some)


def test_scales_steps_and_samplers_are_combined():
    runs = sweeps.combinations([1, 2], [5], steps=[10, 20], samplers=["ddim"])
    assert len(runs) == len({setup.run_name(run) for run in runs}) == 6
