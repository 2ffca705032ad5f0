"""Reports as Markdown and as HTML, from the same few kinds of blocks."""

import html
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from glide_jax.files import replacing

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "td,th{border:1px solid #ccc;padding:.2em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}table{border-collapse:collapse}"
    "img{max-width:100%}"
)


class Heading(NamedTuple):
    """A line over what follows."""

    text: str


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Table(NamedTuple):
    """Rows of cells under a head."""

    head: Sequence[Any]
    rows: Sequence[Sequence[Any]]


class Picture(NamedTuple):
    """An image file beside the report."""

    file: str
    caption: str


Block = Heading | Text | Table | Picture


def write(folder: pathlib.Path, title: str, blocks: Sequence[Block]) -> tuple[pathlib.Path, ...]:
    """Writes report.md and report.html into a folder; returns their paths."""
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *map(_html, blocks)])
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><body>\n{body}\n</body></html>\n"
    )
    paths = folder / "report.md", folder / "report.html"
    page(paths[0], title, blocks)
    with replacing(paths[1]) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return paths


def page(path: pathlib.Path, title: str, blocks: Sequence[Block]) -> None:
    """Writes Markdown alone."""
    text = "\n\n".join([f"# {title}", *map(markdown, blocks)]) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def shown(value: Any) -> str:
    """A cell: numbers with four digits that mean something."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def markdown(block: Block) -> str:
    """A block as Markdown."""
    match block:
        case Heading(text):
            return f"## {text}"
        case Text(text):
            return text
        case Picture(file, caption):
            return f"![{caption}]({file})"
        case Table(head, rows):
            line = lambda cells: (
                "| " + " | ".join(shown(c).replace("|", "\\|") for c in cells) + " |"
            )
            return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def _html(block: Block) -> str:
    escape = lambda value: html.escape(shown(value))
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Picture(file, caption):
            return f'<p><img src="{escape(file)}" alt="{escape(caption)}"></p>'
        case Table(head, rows):
            line = lambda cells, tag: (
                "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
            )
            return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
