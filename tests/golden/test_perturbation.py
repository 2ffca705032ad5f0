"""The suite of golden data fails when a number is wrong, and runs on any directory of the format.

The file of each family tests that ten tolerances are seen in every array of a case.
"""

import json
import pathlib
import shutil

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


class Outcomes:
    """A plugin that counts how the tests of a run end."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.append(report.nodeid)


@pytest.fixture
def run_suite(monkeypatch):
    """The suite on a directory, run inside this process, which has JAX and the networks loaded."""
    monkeypatch.setattr(compare, "MEASURED", {})  # wrong numbers are not the suite's worst ones

    def run(goldens: pathlib.Path, expression: str) -> tuple[int, Outcomes]:
        outcomes = Outcomes()
        words = ["--goldens", str(goldens), "-p", "no:cacheprovider", "-p", "no:timeout"]
        words += ["-c", str(ROOT / "pyproject.toml"), "-k", expression, str(ROOT / "tests/golden")]
        return pytest.main(words, plugins=[outcomes]), outcomes

    return run


OPERATORS = "test_an_operator_agrees and (gelu or nearest2x)"


def test_the_suite_runs_on_any_directory_of_the_format(small, run_suite):
    code, outcomes = run_suite(small, f"({OPERATORS}) or test_glide_ids")
    assert code == 0
    assert (len(outcomes.passed), len(outcomes.failed)) == (3, 0)


def test_the_suite_fails_when_a_number_is_wrong(small, run_suite):
    arrays = read_npz(small / "ops", "ops")
    arrays["gelu/out64"] = test_ops.OPS.perturbed(arrays["gelu/out64"], 7, tolerances=10.0)
    np.savez(small / "ops" / "ops.npz", **arrays)
    code, outcomes = run_suite(small, OPERATORS)
    assert code == 1
    assert (len(outcomes.passed), len(outcomes.failed)) == (1, 1)


def test_the_suite_fails_when_a_token_is_wrong(small, run_suite):
    path = small / "tok" / "tokenizer.json"
    described = read_json(small / "tok", "tokenizer")
    described["rows"][3]["glide"]["ids"][0] += 1
    path.write_text(json.dumps(described))
    code, outcomes = run_suite(small, "test_glide_ids")
    assert code == 1
    assert outcomes.failed
