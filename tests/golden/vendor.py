"""Makes the small form of a directory of golden data, which is what the repository carries.

    python -m tests.golden.vendor FULL_DIRECTORY tests/golden/data

Left out: inputs that a rule rebuilds (their checksums stay), float32 twins of what is judged in
float64, and numbers of the JSON files that no test reads. Judged arrays are rounded to float32,
whose spacing is a hundredth of the tightest tolerance but for the schedules', which stay float64.
"""

import argparse
import gzip
import json
import pathlib
from typing import Any

import numpy as np

from tests.golden.files import Arrays

UNREAD = {"f32_vs_f64", "thr1_vs_thr2", "sensitivity", "taps_f32_vs_f64", "f32_vs_f64_max_per_step"}
UNREAD |= {
    "f32_vs_f64_max_rms",
    "thr1_vs_thr2_max_rms",
    "sensitivity_max_rms",
    "seconds_first_call",
}
UNREAD |= {"f32_vs_f64_final_max_rms", "thr1_vs_thr2_final_max_rms", "f32_vs_f64_relative"}
UNREAD |= {"step_f32_vs_f64_max_relative_to_rms_per_batch_item"}
UNREAD |= {"loss_f32_vs_f64_relative_per_batch_item"}
DOUBLES = {"schedules"}  # files judged to 1e-13


def twin_of(key: str) -> str | None:
    """The float64 key that judges the same number as this float32 key."""
    for end, double in (("/f32", "/f64"), ("out32", "out64"), ("", "_f64")):
        if key.endswith(end):
            return key.removesuffix(end) + double
    return None


def small_arrays(name: str, arrays: Arrays) -> Arrays:
    out = {}
    for key, a in arrays.items():
        twin = twin_of(key)
        if twin in arrays and arrays[twin].shape == a.shape:
            continue
        if f"{key}_crc32" in arrays and name.startswith("full/"):
            continue
        if key == "tapstats_mean_std_absmax_rms" and "tapstats_f64" in arrays:
            continue
        double = a.dtype == np.float64 and a.size > 16 and name.split("/")[-1] not in DOUBLES
        out[key] = a.astype(np.float32) if double else a
    return out


def small_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: small_json(v) for k, v in value.items() if k not in UNREAD}
    return value


def vendor(source: pathlib.Path, target: pathlib.Path) -> None:
    for path in sorted([*source.rglob("*.npz"), *source.rglob("*.json")]):
        relative = path.relative_to(source).with_suffix("")
        out = target / relative
        out.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npz":
            with np.load(path) as file:
                arrays = {key: file[key] for key in file.files}
            np.savez_compressed(f"{out}.npz", **small_arrays(relative.as_posix(), arrays))
            continue
        value = small_json(json.loads(path.read_text()))
        text = json.dumps(value, separators=(",", ":"))
        out.with_suffix(".json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    options = parser.parse_args()
    vendor(options.source, options.target)


if __name__ == "__main__":
    main()
