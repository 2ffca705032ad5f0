"""Grids: which timesteps are visited."""

import numpy as np
import pytest

from glide_jax.diffusion import grids, schedules
from glide_jax.errors import InputError

COSINE = schedules.alpha_bar("squaredcos_cap_v2")


@pytest.mark.parametrize("schedule", schedules.ALPHA_BARS)
@pytest.mark.parametrize("name", grids.GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 25, 200, 996, 997, 999, 1000])
def test_any_number_of_distinct_timesteps_is_possible(name, steps, schedule):
    t = grids.timesteps(name, steps, schedules.alpha_bar(schedule))
    assert len(t) == steps
    assert (np.diff(t) > 0).all()
    assert t[0] >= 0
    assert t[-1] <= 999
    if name in grids.NESTED:  # these end a step before the clean picture, which is no timestep
        left = 1.0 / steps
        if name == "noisy":
            left = 1.0 - (1.0 - left) ** grids.NOISY
        if name == "logsnr_trailing":
            lam = grids.half_log_snr(schedules.alpha_bar(schedule))[: t[-1] + 1]
            wanted = lam[0] + left * (lam[-1] - lam[0])
            left = np.interp(-wanted, -lam, np.arange(len(lam)))
            left = (left + 1.0) / (t[-1] + 1)
        assert abs(t[0] + 1 - left * (t[-1] + 1)) <= 1.5
    else:
        assert steps == 1 or t[0] == 0


@pytest.mark.parametrize("name", grids.GRIDS)
def test_no_grid_starts_where_lambda_is_unsafe(name):
    lam = grids.half_log_snr(COSINE)
    assert lam[-1] < -9 < grids.LAMBDA_MIN  # the cosine schedule's end is
    for steps in (1, 5, 50, 500):
        start = grids.timesteps(name, steps, COSINE)[-1]
        assert lam[start] >= grids.LAMBDA_MIN > lam[start + 1]


def test_grids_are_even_in_what_they_are_named_after():
    lam = grids.half_log_snr(COSINE)
    t = grids.timesteps("uniform", 20, COSINE)
    assert np.ptp(np.diff(t)) <= 1
    # Timesteps are whole, so evenness is asked for where a timestep is a small part of a step.
    steps = np.diff(lam[grids.timesteps("logsnr", 12, COSINE)])[1:-1]
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.2)
    steps = np.diff(np.exp(-lam[grids.timesteps("karras", 12, COSINE)] / grids.RHO))[1:-1]
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.2)


@pytest.mark.parametrize(("name", "steps"), [("cosine", 5), ("karras", 0), ("uniform", 1001)])
def test_what_is_not_possible_is_refused(name, steps):
    with pytest.raises(InputError):
        grids.timesteps(name, steps, COSINE)
