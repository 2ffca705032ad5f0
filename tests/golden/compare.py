"""The error metric of the golden data, and the comparison that every parity test uses.

A test computes its numbers as a list of `Entry`; `check` compares them with what a file holds and
also fails when the file holds a number that nobody compared. So a golden number is either an
input, or judged.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np

from tests.golden.files import Arrays

# (family, key) -> of the worst case: error as a part of its tolerance, and as max and rms
MEASURED: dict[tuple[str, str], tuple[float, float, float]] = {}


def rms(a: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(a, dtype=np.float64)))


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Bounds on the largest error and on the rms error, as parts of the reference's size.

    The size is the rms of the whole array, of each `item` of the leading axis, or each number's own
    magnitude; `scale` gives it outright. `absolute` is added to the bound on the largest error.
    """

    max: float
    rms: float = math.inf
    absolute: float = 0.0
    per: Literal["array", "item", "element"] = "array"
    scale: float | np.ndarray | None = None

    def size(self, reference: np.ndarray) -> np.ndarray:
        """What errors are divided by, shaped to broadcast against `reference`."""
        reference = np.asarray(reference, np.float64)
        if self.scale is not None:
            return np.asarray(self.scale, np.float64)
        if self.per == "element":
            return np.abs(reference)
        if self.per == "item" and reference.ndim:
            axes = tuple(range(1, reference.ndim))
            return np.sqrt(np.mean(reference**2, axis=axes, keepdims=True))
        return np.asarray(rms(reference))

    def errors(self, ours: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
        """The largest error as a part of its bound; max and rms error over the size."""
        ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
        difference = np.where(ours == reference, 0.0, np.abs(ours - reference))
        size = np.broadcast_to(self.size(reference), difference.shape)
        bound = self.max * size + self.absolute
        with np.errstate(divide="ignore", invalid="ignore"):
            part = float(np.nan_to_num(difference / bound, nan=0.0, posinf=math.inf).max())
            relative = np.nan_to_num(difference / size, nan=0.0, posinf=math.inf)
        part = math.inf if np.isnan(difference).any() else part
        return max(part, rms(relative) / self.rms), float(relative.max()), rms(relative)

    def perturbed(self, reference: np.ndarray, index: int, tolerances: float) -> np.ndarray:
        """`reference` with one number moved away by so many tolerances."""
        reference = np.array(reference)
        size = np.broadcast_to(self.size(reference), reference.shape).reshape(-1)[index]
        step = tolerances * (self.max * size + self.absolute)
        number = reference.reshape(-1)[index].item()
        if reference.dtype.kind != "f":  # towards zero, where 8 bits do not overflow
            step = -math.ceil(step) if number > step else math.ceil(step)
        reference.reshape(-1)[index] = number + step
        return reference


EXACT = Tolerance(max=0.0, absolute=0.5, scale=1.0)  # of integers


@dataclasses.dataclass(frozen=True)
class Pixels(Tolerance):
    """8-bit pictures: a few pixels may differ, each by one step."""

    fraction: float = 0.005

    def errors(self, ours: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
        """Largest difference over one step or pixels that differ over those allowed."""
        difference = np.abs(np.asarray(ours, np.int64) - np.asarray(reference, np.int64))
        part = max(difference.max() / 1.5, np.mean(difference > 0) / self.fraction)
        return part, float(difference.max()), float(np.mean(difference > 0))


PIXELS = Pixels(max=0.0, absolute=1.0, scale=1.0)


COMPUTED: dict[tuple, list["Entry"]] = {}


class Entry(NamedTuple):
    """One result of ours and the names that a file may keep it under, the judged one first."""

    keys: tuple[str, ...]
    ours: np.ndarray
    tolerances: tuple[Tolerance, ...]  # one for each key


def entry(ours: np.ndarray, *pairs: tuple[str, Tolerance]) -> Entry:
    keys, tolerances = zip(*pairs, strict=True)
    return Entry(keys, np.asarray(ours), tolerances)


def once(key: tuple, compute: Callable[[], list[Entry]]) -> list[Entry]:
    """Ours for a directory, family and case: for what takes long and two tests compare."""
    if key not in COMPUTED:
        COMPUTED[key] = compute()
    return COMPUTED[key]


def is_input(key: str) -> bool:
    return key.split("/")[-1].startswith("in_")


def faults(stored: Arrays, entries: Iterable[Entry], family: str = "") -> list[str]:
    """Every number that is wrong, missing or compared with nothing; notes a family's worst."""
    found, judged = [], set()
    for keys, ours, tolerances in entries:
        present = [(k, t) for k, t in zip(keys, tolerances, strict=True) if k in stored]
        if not present:
            found.append(f"{keys[0]}: the file lacks it")
        for key, tolerance in present:
            judged.add(key)
            reference = stored[key]
            if ours.shape != reference.shape:
                found.append(f"{key}: our shape is {ours.shape}, the file's {reference.shape}")
                continue
            part, largest, mean = tolerance.errors(ours, reference)
            note = f"{family}, 8-bit" if tolerance is PIXELS else family
            if family and tolerance is not EXACT:
                measured = (part, largest, mean)
                MEASURED[note, key] = max(measured, MEASURED.get((note, key), measured))
            if part > 1.0:
                found.append(
                    f"{key}: max {largest:.2e}, rms {mean:.2e}, that is {part:.3g} tolerances"
                )
    numbers = [key for key, a in stored.items() if a.dtype.kind != "U"]  # labels are no numbers
    unjudged = [key for key in numbers if key not in judged and not is_input(key)]
    return found + [f"{key}: nothing of ours is compared with it" for key in unjudged]


def check(stored: Arrays, entries: Iterable[Entry], family: str) -> None:
    """Fails unless every number of `stored` agrees with ours."""
    found = faults(stored, entries, family)
    assert not found, "\n".join(found)
