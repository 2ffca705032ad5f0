"""Reports as Markdown pages, and as HTML made from the Markdown.

A report is a title and blocks of Markdown: headings ("## ..."), paragraphs, `picture`s and tables
of `glide_jax.tables`.
"""

import html
import json
import pathlib
import re
import string
from collections.abc import Sequence
from importlib import resources
from typing import Any

from glide_jax import checks
from glide_jax.files import replacing


def picture(file: str, caption: str) -> str:
    """A block that shows an image file beside the report."""
    return f"![{caption}]({file})"


def quoted(text: object) -> str:
    """Text from outside, such as a model's name, so that it is only text in a block."""
    return re.sub(r"([\\`*_\[\]#!~])", r"\\\1", checks.printable(str(text)))


def write_page(path: pathlib.Path, title: str, blocks: Sequence[str]) -> None:
    """Writes a Markdown page, in which no HTML has a meaning.

    Args:
        path: the file.
        title: the page's heading, which is only text.
        blocks: Markdown without blank lines around it.
    """
    text = _plain("\n\n".join([f"# {quoted(title)}", *blocks]) + "\n")
    _write_text(path, text.replace("<", "&lt;"))


def write_report(folder: pathlib.Path, title: str, blocks: Sequence[str]) -> list[pathlib.Path]:
    """Writes report.md and report.html.

    Args:
        folder: where both are written.
        title: the heading of both.
        blocks: Markdown without blank lines around it.

    Returns:
        The paths of both.
    """
    paths = [folder / "report.md", folder / "report.html"]
    write_page(paths[0], title, blocks)
    page = (resources.files("glide_jax.evaluation") / "report.html").read_text("utf-8")
    parts = {
        "title": html.escape(checks.printable(title)),
        "body": "\n".join(_meant(_html(block)) for block in blocks),
    }
    _write_text(paths[1], string.Template(page).substitute(parts))
    return paths


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file, which is whole or absent."""
    _write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _write_text(path: pathlib.Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _plain(text: str) -> str:
    """Captions and names may hold what controls a terminal; lines stay."""
    return "\n".join(map(checks.printable, text.split("\n")))


def _html(block: str) -> str:
    text = html.escape(_plain(block))
    if text.startswith("## "):
        return f"<h2>{text[3:]}</h2>"
    if shown := re.fullmatch(r"!\[(.*)\]\((.*)\)", text):
        return f'<p><img src="{shown[2]}" alt="{shown[1]}"></p>'
    if text.startswith("| "):
        head, _, *rows = text.split("\n")
        return f"<table>{_row(head, 'th')}{''.join(_row(row, 'td') for row in rows)}</table>"
    return f"<p>{text}</p>"


def _meant(text: str) -> str:
    """Text without the backslashes of `quoted`."""
    return re.sub(r"\\([\\`*_\[\]#!~])", r"\1", text)


def _row(line: str, tag: str) -> str:
    cells = re.split(r"(?<!\\)\|", line)[1:-1]
    shown = (cell.strip().replace("\\|", "|") for cell in cells)
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in shown) + "</tr>"
