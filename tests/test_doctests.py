"""The examples in docstrings give what they show."""

import doctest
import importlib
import pathlib

import pytest

from tests.conftest import ROOT

DRAWING = {"glide_jax", "glide_jax.sampling.glide"}  # they draw, with the settings of the model


def modules() -> list:
    """The modules that have examples; those that draw are slow."""
    found = []
    for path in sorted((ROOT / "glide_jax").rglob("*.py")):
        if ">>> " in path.read_text() and "configs" not in path.parts:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            name = name.removesuffix(".__init__")
            found.append(pytest.param(name, marks=[pytest.mark.slow] * (name in DRAWING)))
    return found


@pytest.mark.parametrize("name", modules())
def test_examples_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
    assert name != "glide_jax.sampling.glide" or pathlib.Path("circle.png").is_file()
