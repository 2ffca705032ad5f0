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


def test_any_other_option_is_combined_and_names_its_runs_and_curves():
    runs = sweeps.combinations([3], others={"eta": ["0", "1"], "guidance_interval": ["200,800"]})
    assert [run["eta"] for run in runs] == ["0", "1"]
    assert [setup.run_name(run) for run in runs] == [
        "w3-eta-0-guidance-interval-200-800", "w3-eta-1-guidance-interval-200-800",
    ]  # fmt: skip
    assert setup.run_name(dict(reversed(runs[0].items()))) == setup.run_name(runs[0])
    assert setup.run_name({"eta": "0.5"}) != setup.run_name({"eta": "5"})
    sampling = {"base": {"sampler": "ddim", "steps": "50", "guidance_scale": 3.0}}
    rows = sweeps.rows_of({setup.run_name(run): (run, {"sampling": sampling}) for run in runs})
    assert [row["curve"] for row in rows] == [
        "eta 0, guidance interval 200,800", "eta 1, guidance interval 200,800",
    ]  # fmt: skip
