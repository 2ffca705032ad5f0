"""A release names one version, and the versions that it was tested with."""

import re
import runpy

import pytest
from packaging.requirements import Requirement

from glide_jax.version import __version__
from tests.conftest import ROOT


def test_the_changelog_begins_with_this_version_and_its_date():
    released = re.findall(r"^## \[(\d.*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released[0][0] == __version__
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", date) for _, date in released)


def test_no_other_file_says_which_version_this_is():
    for name in ("CITATION.cff", "setup.py", "pyproject.toml", "docs/conf.py"):
        assert __version__ not in (ROOT / name).read_text(), name


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_every_requirement_has_a_tested_version_that_satisfies_it(python, monkeypatch):
    import setuptools

    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **how: given.update(how))
    runpy.run_path(str(ROOT / "setup.py"))
    lines = (ROOT / f".ci/constraints-{python}.txt").read_text().splitlines()[1:]
    tested = dict(line.split("==") for line in lines)
    for text in [*given["install_requires"], *given["extras_require"]["dev"]]:
        need = Requirement(text)
        name = re.sub(r"[-_.]+", "-", need.name).lower()
        if name != "setuptools":  # a build's own
            assert need.specifier.contains(tested[name], prereleases=True), text
