"""A look over a source before anybody trains on it: sizes, caption lengths, what is unusable."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from glide_jax.data.example import Example, Rejected, Source
from glide_jax.errors import InputError

_BAR = 40  # characters of a histogram's longest bar


@dataclass
class Survey:
    """What was found in the records that were looked at, which lie evenly over the source."""

    records: int = 0
    usable: int = 0
    examples: list[Example] = field(default_factory=list)
    words: list[int] = field(default_factory=list)  # of each caption
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (height, width)
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, str] = field(default_factory=dict)  # reason: which one


def survey(
    source: Source,
    *,
    most: int = 2000,
    keep: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Reads up to `most` records and keeps up to `keep` of them, both spread evenly.

    Raises:
        InputError: a number is not positive, or the source is empty.
    """
    if most < 1 or keep < 1:
        raise InputError(f"{min(most, keep)} records cannot be looked at; ask for 1 or more.")
    if not len(source):
        raise InputError("the source holds no records.")
    indices = _spread(len(source), most)
    shown = {indices[k] for k in _spread(len(indices), keep)}
    found = Survey(records=len(indices))
    for k, index in enumerate(indices):
        if progress:
            progress(k, len(indices))
        try:
            example = source[index]
        except Rejected as rejected:
            found.rejected[rejected.reason] += 1
            found.first_rejected.setdefault(rejected.reason, str(rejected))
            continue
        found.usable += 1
        found.words += [len(caption.split()) for caption in example.captions]
        found.sizes[example.image.shape[0], example.image.shape[1]] += 1
        if index in shown:
            found.examples.append(example)
    if progress:
        progress(len(indices), len(indices))
    return found


def histogram(values: Sequence[int], bins: int = 12) -> str:
    """Counts of whole numbers as lines of text, in bins of one width; the last is open-ended."""
    if not values:
        return "none"
    top = int(np.percentile(values, 99))
    width = max(1, -(-(top + 1 - min(values)) // bins))
    edges = list(range(min(values), top + 1, width))
    counts = np.bincount(np.minimum((np.array(values) - edges[0]) // width, len(edges) - 1))
    lines = []
    for low, count in zip(edges, counts, strict=True):
        name = f"{low}" if width == 1 else f"{low}-{low + width - 1}"
        if low == edges[-1] and max(values) >= low + width:
            name = f"{low} and more"
        lines.append(f"{name:>11} {count:8,} {'#' * round(_BAR * count / counts.max())}".rstrip())
    return "\n".join(lines)


def _spread(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers below `count`, at even distances."""
    return [k * count // most for k in range(most)] if count > most else list(range(count))
