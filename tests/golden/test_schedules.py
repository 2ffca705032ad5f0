"""Noise schedules and respacings: float64 tables to 1e-13 of each number."""

import re

import numpy as np
import pytest

from glide_jax.diffusion import schedules
from glide_jax.errors import InputError
from tests.golden.compare import EXACT, Entry, Tolerance, check, entry
from tests.golden.files import Arrays, read_json, read_npz
from tests.golden.perturbing import Family, assert_seen

DOUBLE = Tolerance(max=1e-13, per="element")
TABLES = {  # the reference's name of each table, and ours
    "betas": "beta",
    "alphas_cumprod": "alpha_bar",
    "alphas_cumprod_prev": "alpha_bar_prev",
    "posterior_variance": "var",
    "posterior_log_variance_clipped": "log_var_min",
    "posterior_mean_coef1": "mean_x_0",
    "posterior_mean_coef2": "mean_x_t",
}


def read(goldens, case) -> Arrays:
    """All that starts with `case`, such as linear_T50 (50 timesteps; without it 1000)."""
    arrays = read_npz(goldens / "diffusion", "schedules")
    start = f"{case}/"
    return {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}


def beta(name: str, num_steps: int) -> np.ndarray:
    if name == "squaredcos_cap_v2":
        return schedules.cosine_beta(num_steps)
    return schedules.linear_beta(num_steps)


def entries(stored: Arrays, case: str) -> list[Entry]:
    if case.startswith("deprecated_"):
        name = case.removeprefix("deprecated_")
        return [entry(schedules.ddpm_beta(name, len(stored["betas"])), ("betas", DOUBLE))]
    name, _, length = case.partition("_T")
    num_steps = int(length or 1000)
    found = []
    for key in stored:
        spec, _, table = key.rpartition("/")
        if key == "betas_stride":
            whole = beta(name, num_steps)
            found.append(entry(whole[:: num_steps // 50], (key, DOUBLE)))
            continue
        t = schedules.respace("" if spec == "none" else spec, num_steps)
        if table == "timestep_map":
            found.append(entry(t, (key, EXACT)))
        elif table in TABLES:
            ours = schedules.tables(schedules.alpha_bar(name, num_steps)[t])[TABLES[table]]
            found.append(entry(ours, (key, DOUBLE)))
    return found


def test_a_schedule_agrees_in_every_respacing(goldens, schedule_case):
    stored = read(goldens, schedule_case)
    check(stored, entries(stored, schedule_case), "schedules")


def test_a_doubtful_respacing_is_taken_or_refused_as_by_the_reference(
    goldens, respacing_error_case
):
    """One step is the exception: the reference crashes on it and we take the noisiest timestep."""
    outcome = read_json(goldens / "diffusion", "report")["error_cases"][respacing_error_case]
    num_steps, spec = re.fullmatch(r"T=(\d+) respacing='(.*)'", respacing_error_case).groups()
    if spec == "1":
        np.testing.assert_array_equal(schedules.respace(spec, int(num_steps)), [int(num_steps) - 1])
    elif outcome.startswith("ok"):
        t = schedules.respace(spec, int(num_steps)).tolist()
        assert outcome == f"ok, {len(t)} steps, first {t[:3]} last {t[-3:]}"
    else:
        with pytest.raises(InputError):
            schedules.respace(spec, int(num_steps))


def test_ten_tolerances_are_seen_in_every_array(tmp_path):
    family = Family(
        "diffusion/schedules", "linear", lambda *args: (read(*args),), entries, prefix="linear/"
    )
    assert_seen(family, tmp_path)
