"""Reading a directory of golden data, in the full form or the small form of `vendor.py`.

The small form leaves out what a rule rebuilds and float32 twins of what is judged in float64,
rounds judged arrays to float32 and compresses the JSON files.
"""

import gzip
import json
import pathlib
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def read_json(directory: pathlib.Path, name: str) -> Any:
    """The file `name`.json, or `name`.json.gz."""
    path = directory / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    return json.loads(gzip.decompress(path.with_suffix(".json.gz").read_bytes()))


def has_json(directory: pathlib.Path, name: str) -> bool:
    return any((directory / f"{name}{end}").exists() for end in (".json", ".json.gz"))


def read_npz(directory: pathlib.Path, name: str) -> Arrays:
    """All arrays of the file `name`.npz."""
    with np.load(directory / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def stems(directory: pathlib.Path, pattern: str) -> list[str]:
    """Names without their ending of the files that match."""
    return sorted(path.name.split(".")[0] for path in directory.glob(pattern))


def cases(directory: pathlib.Path, family: str, names: list[str]) -> list[str]:
    """`names` that a JSON file lists, and every .npz of the family besides: neither may lack."""
    return sorted({*names, *stems(directory / family, "*.npz")})
