"""Reports: the HTML shows what the Markdown says."""

import html
import re

import pytest

from glide_jax.evaluation.report import picture, quoted, write_report
from glide_jax.tables import table


def test_every_block_is_in_both_forms(tmp_path):
    blocks = ["## A <head>", "Some words.", picture("a.png", "a caption"),
              table([("x | y", 1.23456)], ("name", "number"))]  # fmt: skip
    page, html = (path.read_text("utf-8") for path in write_report(tmp_path, "A & B", blocks))
    assert page == ("\n\n".join(["# A & B", *blocks]) + "\n").replace("<", "&lt;")
    for part in (
        "<title>A &amp; B</title>",
        "<h1>A &amp; B</h1>",
        "<h2>A &lt;head&gt;</h2>",
        "<p>Some words.</p>",
        '<img src="a.png" alt="a caption">',
        "<tr><th>name</th><th>number</th></tr>",
        "<tr><td>x | y</td><td>1.235</td></tr>",
    ):
        assert part in html


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "![x](http://evil)", "a_b*c*`d`", "a\\<b", "a | b\nc"]
)
def test_text_from_outside_is_only_text(tmp_path, name):
    blocks = [f"Model {quoted(name)}.", table([(quoted(name), 1)], ("run", "n"))]
    paths = write_report(tmp_path, name, blocks)
    page, shown = (path.read_text("utf-8") for path in paths)
    assert "<" not in page
    assert not re.search(r"(?<!\\)[\[\]`*_]", page)
    name = name.replace("\n", "\\n")
    for part in (f"<p>Model {html.escape(name)}.</p>", f"<tr><td>{html.escape(name)}</td>"):
        assert part in shown
    assert f"<title>{html.escape(name)}</title>" in shown
