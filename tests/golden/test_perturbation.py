"""Parity tests fail when a golden number is wrong: each is moved by ten tolerances in turn.

Ours are computed once for a case of each family and compared with a directory in which one stored
number has been changed.
"""

import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from tests.conftest import VENDORED
from tests.golden import (
    compare,
    test_losses,
    test_ops,
    test_params,
    test_schedules,
    test_steps,
    test_tiny,
    test_train,
    test_trajectories,
)
from tests.golden.compare import Entry
from tests.golden.files import read_json, read_npz

ROOT = pathlib.Path(__file__).parents[2]


class Family(NamedTuple):
    """What reads a case and what computes it: the functions that the tests use."""

    file: str
    case: str
    read: Callable[..., tuple]  # directory and case to what `entries` needs, stored numbers last
    entries: Callable[..., list[Entry]]
    prefix: str = ""  # of the case's keys in the file


def _of_losses(directory: pathlib.Path, case: str):
    stored, own_error = test_losses.read(directory, case)
    return own_error, stored


FAMILIES = {
    "tiny": Family(
        "tiny/t12_three_channels_per_group_48ch_heads",
        "t12_three_channels_per_group_48ch_heads",
        test_tiny.read,
        test_tiny.entries,
    ),
    "op": Family("ops/ops", "resblock_up_ss", test_ops.read, test_ops.entries, "resblock_up_ss/"),
    "schedule": Family(
        "diffusion/schedules",
        "linear",
        lambda d, case: (test_schedules.read(d, case),),
        test_schedules.entries,
        "linear/",
    ),
    "steps": Family(
        "diffusion/steps",
        "linear/fast27/clip1_dfn0",
        lambda d, case: (test_steps.read(d, case),),
        test_steps.entries,
        "linear/fast27/clip1_dfn0/",
    ),
    "losses": Family(
        "diffusion/losses",
        "linear/none/RESCALED_MSE/LEARNED_RANGE/EPSILON",
        _of_losses,
        lambda own_error, stored, case: test_losses.entries(stored, own_error, case),
        "linear/none/RESCALED_MSE/LEARNED_RANGE/EPSILON/",
    ),
    "trajectory": Family(
        "traj/cfg_ddim10_eta0", "cfg_ddim10_eta0", test_trajectories.read, test_trajectories.entries
    ),
    "trajectory with CLIP": Family(
        "traj/clip_guided_ddpm10",
        "clip_guided_ddpm10",
        test_trajectories.read,
        test_trajectories.entries,
    ),
    "train": Family("train/base", "base", test_train.read, test_train.entries),
}
UNMOVED = {"kept_steps"}  # says which steps are there


def moved(goldens: pathlib.Path, target: pathlib.Path, family: Family, key: str, number) -> None:
    """A copy of the family's folder in which one array is another."""
    folder = family.file.split("/")[0]
    shutil.rmtree(target / folder, ignore_errors=True)
    shutil.copytree(goldens / folder, target / folder)
    arrays = read_npz(goldens, family.file)
    np.savez(target / f"{family.file}.npz", **(arrays | {family.prefix + key: number}))


@pytest.mark.parametrize("name", FAMILIES)
def test_ten_tolerances_are_seen_in_every_array_of_a_file(name, tmp_path):
    family, rng = FAMILIES[name], np.random.default_rng(0)
    *context, stored = family.read(VENDORED, family.case)
    key = (VENDORED, family.file.split("/")[0], family.case)
    entries = compare.once(key, lambda: family.entries(*context, stored, family.case))
    of_key = {
        key: (entry.ours, tolerance)
        for entry in entries
        for key, tolerance in zip(entry.keys, entry.tolerances, strict=True)
    }
    in_file = read_npz(VENDORED, family.file)
    keys = [k for k in of_key if family.prefix + k in in_file and k not in UNMOVED]
    assert keys
    for key in keys:
        reference = np.asarray(in_file[family.prefix + key])
        sizes = np.flatnonzero(reference)  # ten times 1e-13 of zero is nothing
        index = int(rng.choice(sizes))
        number = of_key[key][1].perturbed(reference, index, tolerances=10.0)
        moved(VENDORED, tmp_path, family, key, number)
        *_, changed = family.read(tmp_path, family.case)
        faults = compare.faults(changed, entries)
        assert any(fault.startswith(f"{key}:") for fault in faults), f"{key}[{index}] went unseen"


def test_a_wrong_checksum_is_seen():
    listed, stored = test_params.read(VENDORED, "clip_text")
    key = next(key for key in stored if key.endswith("/crc32"))
    stored[key] = stored[key] + 1
    faults = compare.faults(stored, test_params.entries(listed, "clip_text"))
    assert [fault.split(":")[0] for fault in faults] == [key]


@pytest.fixture
def small(tmp_path) -> pathlib.Path:
    """A directory of the same format with two quick families."""
    for folder in ("ops", "tok"):
        shutil.copytree(VENDORED / folder, tmp_path / folder)
    return tmp_path


def run_suite(goldens: pathlib.Path, expression: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "tests/golden", "--goldens", str(goldens)]
    command += ["-q", "-p", "no:cacheprovider", "-k", expression]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)


OPERATORS = "test_an_operator_agrees and (gelu or nearest2x)"


def test_the_suite_runs_on_any_directory_of_the_format(small):
    result = run_suite(small, f"({OPERATORS}) or test_glide_ids")
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


def test_the_suite_fails_when_a_number_is_wrong(small):
    arrays = read_npz(small / "ops", "ops")
    arrays["gelu/out64"] = test_ops.OPS.perturbed(arrays["gelu/out64"], 7, tolerances=10.0)
    np.savez(small / "ops" / "ops.npz", **arrays)
    result = run_suite(small, OPERATORS)
    assert result.returncode == 1, result.stdout
    assert "1 failed, 1 passed" in result.stdout


def test_the_suite_fails_when_a_token_is_wrong(small):
    path = small / "tok" / "tokenizer.json"
    described = read_json(small / "tok", "tokenizer")
    described["rows"][3]["glide"]["ids"][0] += 1
    path.write_text(json.dumps(described))
    result = run_suite(small, "test_glide_ids")
    assert result.returncode == 1, result.stdout
