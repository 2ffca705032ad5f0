"""The account of what a reader saw and does not use, so that nothing is passed over in silence."""

from collections import Counter

from glide_jax import checks

_MOST_LINES = 12  # a folder of anything has files of a hundred suffixes


class Tally:
    """Counts by kind, with the first case of each.

    Attributes:
        counts: how many of each kind.
        first: the name of the first of each kind.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, kind: str, name: str, count: int = 1) -> None:
        """Counts more of a kind.

        Args:
            kind: a few words in the plural.
            name: the first one's.
            count: how many more.
        """
        self.counts[kind] += count
        self.first.setdefault(kind, name)

    def lines(self) -> list[str]:
        """Returns a phrase for each kind, the most frequent first, with the count and a case."""
        kinds = self.counts.most_common()
        found = [
            f"{kind} ({count:,}, such as {checks.shown(self.first[kind])})"
            for kind, count in kinds[:_MOST_LINES]
        ]
        rest = kinds[_MOST_LINES:]
        more = f"{len(rest)} other kinds ({sum(count for _, count in rest):,})"
        return [*found, more] if rest else found

    @property
    def there_instead(self) -> str:
        """The end of a sentence that something is missing: what is there, if anything."""
        return f"; it holds {self}" if self.counts else ""

    def __str__(self) -> str:
        return "; ".join(self.lines()) or "nothing"
