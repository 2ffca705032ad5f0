"""Properties of the tables; their numbers are compared in tests/golden."""

import numpy as np
import pytest

from glide_jax.diffusion import schedules
from glide_jax.errors import InputError


@pytest.mark.parametrize("steps", [1, 2, 3, 27, 100, 999, 1000])
def test_any_number_of_steps_is_possible(steps):
    t = schedules.respace(steps)
    assert len(t) == steps
    assert (np.diff(t) > 0).all()
    assert t[0] >= 0
    assert t[-1] <= 999


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("name", schedules.ALPHA_BARS)
def test_tables_are_finite_at_every_length(name, steps):
    alpha_bar = schedules.alpha_bar(name)[schedules.respace(steps)]
    for key, table in schedules.tables(alpha_bar).items():
        assert np.isfinite(table).all(), key


def test_padding_repeats_the_last_entry_and_changes_nothing_else():
    alpha_bar, t = schedules.alpha_bar("linear"), schedules.respace("fast27")
    short = schedules.from_alpha_bar(alpha_bar, t)
    long = schedules.from_alpha_bar(alpha_bar, t, pad_to=1000)
    assert int(long.num_steps) == 27
    assert long.t.shape == (1000,)
    np.testing.assert_array_equal(long.beta[:27], short.beta)
    np.testing.assert_array_equal(long.beta[27:], np.full(973, short.beta[-1]))


def test_respacing_keeps_alpha_bar():
    alpha_bar, t = schedules.alpha_bar("squaredcos_cap_v2"), schedules.respace("50")
    beta = schedules.tables(alpha_bar[t])["beta"]
    # The last step keeps 1 - beta = 2e-4 of the signal, which costs four of sixteen digits.
    np.testing.assert_allclose(np.cumprod(1 - beta), alpha_bar[t], rtol=1e-11)


def test_fast27_leaves_the_very_last_timestep_out():
    t = schedules.respace("fast27")
    assert len(t) == 27
    assert t[-1] == 997


@pytest.mark.parametrize(
    "spec",
    ["0", "-1", "1001", "abc", "ddim0", "ddim999", "ddim", "ddim-5", "600,600", "1,,2", "5,-1"],
)
def test_impossible_respacings_are_refused(spec):
    with pytest.raises(InputError):
        schedules.respace(spec)


def test_an_unknown_schedule_names_the_known_ones():
    with pytest.raises(InputError, match="squaredcos_cap_v2"):
        schedules.alpha_bar("cosinus")
