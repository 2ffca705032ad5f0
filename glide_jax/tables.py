"""Tables in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any


def table(rows: Iterable[Sequence[Any]], header: Sequence[Any], align: str = "") -> str:
    """Rows of cells under a header, as a Markdown table without a newline at its end.

    Args:
        rows: the cells of each row, as many as the header has; `cell` writes each of them.
        header: the columns' names.
        align: a letter for each column, "l" for left or "r" for right; empty puts all of them left.
    """
    rule = ("---:" if letter == "r" else "---" for letter in align or "l" * len(header))
    lines = [map(_escaped, header), *(map(_escaped, row) for row in rows)]
    first, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([first, f"|{'|'.join(rule)}|", *rest])


def cell(value: Any) -> str:
    """The text of a cell; a float has four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _escaped(value: Any) -> str:
    return cell(value).replace("|", "\\|")
