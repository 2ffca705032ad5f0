"""The account of records that could not be used: never fatal one by one, never silent."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from glide_jax.errors import InputError

_FEWEST = 100  # records tried before a part of them means anything


class Rejection(NamedTuple):
    """A record that was not usable; `detail` names it, and may say more."""

    index: int
    reason: str
    detail: str


class Rejections:
    """Counts what was rejected, each record once, and stops a run that would lose too much.

    Attributes:
        tried: number of different records tried so far.
        by_reason: number of those that were rejected, by reason.
        examples: the detail of the first record rejected for each reason.
    """

    def __init__(self, records: int, max_rejected: float):
        self.records, self.max_rejected = records, max_rejected
        self.tried = 0
        self.by_reason: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._tried = np.zeros(records, bool)
        self._rejected: set[int] = set()

    def add(self, tried: Sequence[int], rejections: Iterable[Rejection]) -> None:
        """Counts the records tried for one batch, and the rejected ones among them.

        Raises:
            InputError: more are not usable than `max_rejected` allows.
        """
        indices = np.unique(np.asarray(tried, np.int64))
        self.tried += int((~self._tried[indices]).sum())
        self._tried[indices] = True
        for one in rejections:
            if one.index not in self._rejected:
                self._rejected.add(one.index)
                self.by_reason[one.reason] += 1
                self.examples.setdefault(one.reason, one.detail)
        if self.tried >= min(_FEWEST, self.records) and self.total > self._allowed():
            raise InputError(
                f"{self.summary()}; {self.total / self.tried:.1%} is more than max_rejected = "
                f"{self.max_rejected:.1%}: mend them, or set max_rejected higher."
            )

    @property
    def total(self) -> int:
        """The number of different records that were rejected."""
        return len(self._rejected)

    def summary(self) -> str:
        """Returns one line: the counts, and each reason with an example."""
        reasons = ", ".join(
            f"{reason} {count}" + (f" (as {example})" if (example := self.examples[reason]) else "")
            for reason, count in self.by_reason.most_common()
        )
        head = f"{self.total} of {self.tried} records tried are not usable"
        return f"{head}: {reasons}" if reasons else head

    def _allowed(self) -> float:
        """Returns how many may be rejected: exact for the whole set, plus 3 sigma for a part."""
        fair = self.max_rejected * self.tried
        return fair if self.tried == self.records else fair + 3 * math.sqrt(fair)
