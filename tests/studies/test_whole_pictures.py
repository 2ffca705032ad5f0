"""Whole pictures of tiny networks, timed in turn with something that stands for the reference."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from glide_jax.model_dir.schema import StageConfig
from launch.studies import whole_pictures
from tests import tiny

CONFIGS = {
    "base": StageConfig(tiny.BASE, "squaredcos_cap_v2"),
    "upsample": StageConfig(tiny.UPSAMPLE, "linear"),
}


@pytest.fixture
def study(monkeypatch, tmp_path):
    loads = {name: lambda c=config: (c, tiny.weights(c.model)) for name, config in CONFIGS.items()}
    monkeypatch.setattr(whole_pictures.bench, "loads", lambda *_: loads)
    monkeypatch.setattr(whole_pictures, "theirs", lambda parts, checkout: lambda: np.zeros(3))
    words = ("--reference", tmp_path, "--work", tmp_path / "work", "--out", tmp_path / "page.md")
    monkeypatch.setattr(sys, "argv", ["study", *map(str, words)])
    few = {name: how for name, how in whole_pictures.ways().items() if "4 + 1" in name}
    monkeypatch.setattr(whole_pictures, "ways", lambda: few)
    return tmp_path


def test_every_side_is_drawn_whole_and_kept(study, capsys):
    whole_pictures.main()
    rows = json.loads((study / "work" / "seconds.json").read_text())
    assert set(rows) == {whole_pictures.THEIRS, "ours, a student of 4 + 1"}
    assert all(len(seconds) == 1 for seconds in rows.values())
    page = (study / "page.md").read_text()
    assert "| ours, a student of 4 + 1 |" in page
    assert capsys.readouterr().out.count(" s\n") == 2
    whole_pictures.main()  # what is there is not run again
    assert capsys.readouterr().out == ""
    assert json.loads((study / "work" / "seconds.json").read_text()) == rows


def test_the_upsampler_enlarges_what_the_base_drew():
    parts = {
        name: whole_pictures.networks.part(name, c, tiny.weights(c.model), "float32", "auto")
        for name, c in CONFIGS.items()
    }
    [how] = [how for name, how in whole_pictures.ways().items() if "4 + 1" in name]
    drawn = whole_pictures.drawing(parts, how)()
    assert drawn.shape == (1, 32, 32, 3)
    other = how | {"base": dataclasses.replace(how["base"], eta=0.0)}
    assert np.abs(whole_pictures.drawing(parts, other)() - drawn).max() > 1e-3
    np.testing.assert_array_equal(whole_pictures.drawing(parts, how)(), drawn)
