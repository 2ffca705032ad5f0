"""The copy in the repository is whole: nothing that a parity test runs on has gone missing."""

import collections
import json

import numpy as np
import pytest

from tests.conftest import VENDORED
from tests.golden import families, vendor
from tests.golden.files import read_json, read_npz

CASES = {
    "tiny": 12,
    "op": 43,
    "trajectory": 9,
    "train": 2,
    "schedule": 14,
    "respacing_error": 10,
    "steps": 12,
    "losses": 21,
    "params": 6,
    "full": 7,
    "full_clip": 1,
}
ARRAYS = {"schedules": 200, "steps": 193, "losses": 160}


@pytest.mark.parametrize("family", CASES)
def test_every_case_is_there(family):
    assert len(families.CASES[family](VENDORED)) == CASES[family]


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_of_the_diffusion_is_there(name):
    assert len(read_npz(VENDORED / "diffusion", name)) == ARRAYS[name]


def test_every_prompt_is_there():
    rows = read_json(VENDORED / "tok", "tokenizer")["rows"]
    assert len(rows) == 206
    assert [len(rows) for rows in _kinds(rows)] == [205, 206]


def _kinds(rows):
    return [[r for r in rows if "ids" in r[kind]] for kind in ("glide", "clip")]


def test_the_released_networks_have_all_their_tensors():
    counts = {n: len(read_json(VENDORED / "params", n)["params"]) for n in families.NETWORKS}
    assert collections.Counter(counts.values()) == {783: 2, 797: 2}


def test_the_small_form_drops_only_what_is_judged_elsewhere(tmp_path):
    whole, double = np.ones(40, np.float32), np.ones(40)
    arrays = {"out": whole, "out_f64": double, "kept": whole, "kept_f64": double[::2]}
    (tmp_path / "full" / "tiny").mkdir(parents=True)
    np.savez(tmp_path / "full" / "tiny" / "case.npz", **arrays)
    (tmp_path / "full" / "tiny" / "configs.json").write_text(json.dumps({"a": [1, {"b": 2}]}))
    vendor.vendor(tmp_path / "full", tmp_path / "small")

    small = read_npz(tmp_path / "small" / "tiny", "case")
    assert sorted(small) == ["kept", "kept_f64", "out_f64"]
    assert {a.dtype for a in small.values()} == {np.dtype(np.float32)}
    assert read_json(tmp_path / "small" / "tiny", "configs") == {"a": [1, {"b": 2}]}
