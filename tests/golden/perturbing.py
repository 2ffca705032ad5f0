"""Parity tests fail when a golden number is wrong: each is moved by ten tolerances in turn.

Ours are computed once for a case of each family, by the family's own file, and compared with a
directory in which one stored number has been changed.
"""

import pathlib
import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tests.conftest import VENDORED
from tests.golden import compare
from tests.golden.files import read_npz

UNMOVED = {"kept_steps"}  # says which steps are there


class Family(NamedTuple):
    """What reads a case and what computes it: the functions that the tests use."""

    file: str
    case: str
    read: Callable[..., tuple]  # directory and case to what `entries` needs, stored numbers last
    entries: Callable[..., list[compare.Entry]]
    prefix: str = ""  # of the case's keys in the file

    @property
    def folder(self) -> str:
        return self.file.split("/")[0]


def assert_seen(family: Family, target: pathlib.Path) -> None:
    """Fails unless ten tolerances are seen in every array of the family's file.

    `target` is an empty directory, for copies of the golden data.
    """
    rng = np.random.default_rng(0)
    *context, stored = family.read(VENDORED, family.case)
    key = (VENDORED, family.folder, family.case)
    entries = compare.once(key, lambda: family.entries(*context, stored, family.case))
    of_key = {
        key: tolerance
        for entry in entries
        for key, tolerance in zip(entry.keys, entry.tolerances, strict=True)
    }
    in_file = read_npz(VENDORED, family.file)
    keys = [k for k in of_key if family.prefix + k in in_file and k not in UNMOVED]
    assert keys
    shutil.copytree(VENDORED / family.folder, target / family.folder)
    for key in keys:
        reference = np.asarray(in_file[family.prefix + key])
        sizes = np.flatnonzero(reference)  # ten times 1e-13 of zero is nothing
        index = int(rng.choice(sizes))
        number = of_key[key].perturbed(reference, index, tolerances=10.0)
        np.savez(target / f"{family.file}.npz", **(in_file | {family.prefix + key: number}))
        *_, changed = family.read(target, family.case)
        faults = compare.faults(changed, entries)
        assert any(fault.startswith(f"{key}:") for fault in faults), f"{key}[{index}] went unseen"
