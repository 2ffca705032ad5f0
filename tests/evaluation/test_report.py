"""Reports: the HTML shows what the Markdown says."""

from glide_jax.evaluation.report import picture, write_report
from glide_jax.tables import table


def test_every_block_is_in_both_forms(tmp_path):
    blocks = ["## A <head>", "Some words.", picture("a.png", "a caption"),
              table([("x | y", 1.23456)], ("name", "number"))]  # fmt: skip
    page, html = (path.read_text("utf-8") for path in write_report(tmp_path, "A & B", blocks))
    assert page == "\n\n".join(["# A & B", *blocks]) + "\n"
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
