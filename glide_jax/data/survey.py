"""Statistics of a source before training on it: sizes, caption lengths, unusable records."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from glide_jax.data.example import Example, Rejected, Source, spread
from glide_jax.errors import InputError
from glide_jax.tokenizers import Tokenizer

_LETTERS = 64  # a token has fewer
_BAR = 40  # characters of a histogram's longest bar


@dataclass
class Survey:
    """Statistics of the records that were read, which lie evenly over the source."""

    records: int = 0
    usable: int = 0
    examples: list[Example] = field(default_factory=list)
    words: list[int] = field(default_factory=list)  # number in each caption
    cut: int = 0  # captions that are longer than the context
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (height, width)
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, str] = field(default_factory=dict)  # reason: the first record


def survey(
    source: Source,
    *,
    most: int = 2000,
    keep: int = 64,
    tokenizer: Tokenizer | None = None,
    context: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Reads some records of a source, spread evenly.

    Args:
        source: the examples.
        most: records to read at the most.
        keep: usable ones among them to keep as examples, at the most.
        tokenizer: if given, captions are counted that it makes longer than the context.
        context: tokens of a caption's row.
        progress: called with (records read, records to read).

    Raises:
        InputError: a number is not positive, or the source is empty.
    """
    if most < 1 or keep < 1:
        raise InputError(f"{min(most, keep)} records cannot be looked at; ask for 1 or more.")
    if not len(source):
        raise InputError("the source holds no records.")
    indices = spread(len(source), most)
    shown = {indices[k] for k in spread(len(indices), keep)}
    result = Survey(records=len(indices))
    for k, index in enumerate(indices):
        if progress:
            progress(k, len(indices))
        try:
            example = source[index]
        except Rejected as rejected:
            result.rejected[rejected.reason] += 1
            result.first_rejected.setdefault(rejected.reason, str(rejected))
            continue
        result.usable += 1
        result.words += [len(caption.split()) for caption in example.captions]
        if tokenizer is not None:
            result.cut += count_cut(example.captions, tokenizer, context)
        result.sizes[example.image.shape[0], example.image.shape[1]] += 1
        if index in shown:
            result.examples.append(example)
    if progress:
        progress(len(indices), len(indices))
    return result


def histogram(values: Sequence[int], bins: int = 12) -> str:
    """Returns lines of text with counts in bins of one width; the last bin is open-ended."""
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


def count_cut(captions: Iterable[str], tokenizer: Tokenizer, context: int) -> int:
    """Returns the number of captions whose ends a model does not see.

    Args:
        captions: the texts.
        tokenizer: encodes them.
        context: tokens of a caption's row.
    """
    room = context - int(tokenizer([""], context).mask.sum())  # without the marks of its ends
    longest = _LETTERS * context  # more are not looked at: a text of megabytes is cut in any case
    return sum(len(tokenizer.encode(text[:longest])) > room for text in captions)
