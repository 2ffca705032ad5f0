"""Links inside the repository lead somewhere: to a file or folder, and to a heading of a page."""

import pathlib
import re
import subprocess

import pytest

from tests.conftest import ROOT
from tests.pages import FENCE

LINK = re.compile(r"\]\(([^()\s]+)\)")
PAGES = subprocess.run(
    ["git", "-C", ROOT, "ls-files", "*.md"], capture_output=True, text=True, check=True
).stdout.split()


def anchors(page: pathlib.Path) -> set[str]:
    """The names by which the headings of a page are linked, as GitHub and MyST make them."""
    titles = re.findall(r"^#{1,6} +(.+?) *$", FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.replace(" ", "-") for title in plain}


def broken(page: pathlib.Path) -> list[str]:
    """The links of a page to what is not there; addresses of the web are not looked at."""
    found = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = page if not path else (page.parent / path).resolve()
        made = target.is_relative_to(ROOT / "docs" / "reference")  # when the site is built
        missing = not target.exists() and not made
        untitled = anchor and target.suffix == ".md" and anchor not in anchors(target)
        found += [link] if missing or untitled else []
    return found


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name):
    assert broken(ROOT / name) == []


def test_a_broken_link_is_seen(tmp_path):
    (tmp_path / "b.md").write_text("# A title, of `two` words\n")
    page = tmp_path / "a.md"
    page.write_text("[x](b.md#a-title-of-two-words) [y](b.md#no) [z](c.md)\n")
    assert broken(page) == ["b.md#no", "c.md"]
