"""The editing commands as a user meets them, and `repeat` of each result."""

import numpy as np
import pytest
from PIL import Image

from glide_jax import images

FEW = ("--steps", "2", "--upsample-steps", "2")


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def run(cli, tiny_model, tmp_path):
    """A command into a folder: what it wrote."""

    def run(command, *argv, out="out", model=tiny_model):
        result = cli(
            command, *argv, "--out", tmp_path / out, *(["--model", model] if model else [])
        )
        assert result.code == 0, result.err
        return [
            path for path in map(type(tmp_path), result.out.split()) if path.name != "sheet.png"
        ]

    return run


@pytest.fixture
def repeats(run):
    """Whether `repeat` writes a picture's bytes again."""
    return lambda path: run("repeat", path, out="again", model=None)[0].read_bytes()


def test_edits_follow_one_another_and_each_is_repeated_to_the_byte(run, repeats, photo, tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    [drawn] = run("sample", "red", "--seed", 3, "--guidance-scale", 1.5, *FEW)
    [edited] = run("edit", drawn, "blue", "--strength", 0.5, *FEW)
    [painted] = run("inpaint", edited, "red", "--mask", tmp_path / "mask.png", "--repeats", 2, *FEW)
    for path in (drawn, edited, painted):
        assert repeats(path) == path.read_bytes()
    said = images.read_parameters(painted)["edit"]
    assert said["image"]["path"] == str(edited)
    np.testing.assert_array_equal(*(np.asarray(Image.open(p))[:, :16] for p in (edited, painted)))


def test_other_edits_of_a_picture_have_other_names(run, photo):
    names = [run("edit", photo, "red", "--strength", s, *FEW)[0] for s in (0.5, 0.7, 0.5)]
    assert names[0] == names[2] != names[1]


def test_variations_are_repeated_alone(run, repeats, photo):
    first, second = run("vary", photo, "--n", 2, *FEW)
    assert first.read_bytes() != second.read_bytes()
    assert repeats(second) == second.read_bytes()


def test_a_picture_is_enlarged_and_repeated(run, repeats, tmp_path):
    Image.new("RGB", (16, 9), "red").save(tmp_path / "small.png")
    [large] = run("upscale", tmp_path / "small.png", "--upsample-steps", 2)
    assert Image.open(large).size == (32, 18)
    assert repeats(large) == large.read_bytes()


def test_a_strip_and_an_animation_are_written_and_the_strip_repeated(run, repeats):
    strip, gif = run("interpolate", "red", "blue", "--frames", 3, "--to-seed", 5, "--gif", *FEW)
    assert Image.open(strip).size == (96, 32)
    with Image.open(gif) as moving:
        assert moving.n_frames == 4
    assert repeats(strip) == strip.read_bytes()


def test_the_best_are_kept_and_say_their_scores(run, repeats, tiny_full):
    kept = run("sample", "red", "--n", 3, "--keep", 2, *FEW, model=tiny_full)
    said = [images.read_parameters(path)["choice"] for path in kept]
    assert [choice["n"] for choice in said] == [3, 3]
    assert said[0]["score"] >= said[1]["score"]
    assert repeats(kept[0]) == kept[0].read_bytes()


def test_repeat_refuses_what_has_changed(cli, run, photo, tmp_path):
    [edited] = run("edit", photo, "red", "--strength", 0.5, *FEW)
    argv = ("repeat", edited, "--out", tmp_path / "again")
    moved = photo.rename(tmp_path / "moved.png")
    assert "photo.png' does not exist" in cli(*argv).complaint
    assert cli(*argv, "--image", moved).code == 0
    Image.new("RGB", (32, 32), "red").save(photo)
    assert "pixels have changed" in cli(*argv).complaint
    assert "holds the picture itself" in cli("repeat", edited, "--out", edited.parent).complaint
