"""The suite of golden data fails when a number is wrong, and runs on any directory of the format.

That ten tolerances are seen in every array of a case, the file of each family tests.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import VENDORED
from tests.golden import compare, test_ops, test_params
from tests.golden.files import read_json, read_npz

ROOT = pathlib.Path(__file__).parents[2]


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
