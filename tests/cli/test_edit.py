"""The editing commands as a user meets them, and `repeat` of each result."""

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from glide_jax import images
from tests import profiles

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


@pytest.mark.slow
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


def test_a_layer_with_a_profile_keeps_all_it_has_and_is_repeated(run, repeats, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 4), np.uint8)
    texts, exif = PngImagePlugin.PngInfo(), Image.Exif()
    texts.add_text("workflow", "{}")
    exif[0x013B] = "somebody"
    Image.fromarray(pixels).save(
        tmp_path / "a.png", icc_profile=profiles.wide(), exif=exif, pnginfo=texts
    )
    strokes = np.zeros((40, 32, 4), np.uint8)
    strokes[20:30, 8:20] = 0, 200, 0, 255
    Image.fromarray(strokes).save(tmp_path / "mask.png")
    argv = (tmp_path / "a.png", "red", "--mask", tmp_path / "mask.png")
    [painted] = run("inpaint", *argv, *FEW)
    out, kept = images.read(painted), strokes[..., 3] == 0
    np.testing.assert_array_equal(np.asarray(out)[kept], pixels[kept])
    assert (np.asarray(out)[~kept, 3] == 255).all()
    assert (out.info["icc_profile"], out.info["workflow"]) == (profiles.wide(), "{}")
    assert out.getexif()[0x013B] == "somebody"
    assert repeats(painted) == painted.read_bytes()


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (5, "carries no parameters"), ("model", "carries no parameters"), (["model"], "carries no"),
        ({"model": 3}, "the model 3; it must be text"), ({"dtype": ["x"]}, "it must be text"),
        ({"prompt": None}, "the prompt None; it must be text"), ({"dtype": "x"}, "dtype is 'x'"),
        ({"seed": 10**30}, "seed is 1000"), ({"seed": "0"}, "it must be a whole number"),
        ({"model_path": "gone/nowhere"}, "the model that drew it, 'gone/nowhere', is not here"),
        ({"model_path": None, "model": "nobody"}, "the model that drew it, 'nobody', is not here"),
        ({"base": {"sampler": ["x"]}}, "sampler is ['x']"),
    ],
)  # fmt: skip
def test_repeat_answers_odd_parameters_in_a_sentence(cli, photo, tmp_path, glide, metadata, says):
    if isinstance(metadata, dict):
        metadata = {**glide.parameters("red", steps=2, upsample_steps=2)[0], **metadata}
    images.write_png(tmp_path / "odd.png", images.read(photo), metadata)
    result = cli("repeat", tmp_path / "odd.png", "--out", tmp_path / "again")
    assert (result.code, says in result.complaint) == (2, True), result.err
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("metadata", "says"),
    [({"prompt": "x"}, "carries no parameters"), ({"model": "shapes"}, "no 'dtype'; they are not")],
)
def test_repeat_answers_parts_of_parameters_in_a_sentence(cli, photo, tmp_path, metadata, says):
    images.write_png(tmp_path / "odd.png", images.read(photo), metadata)
    assert says in cli("repeat", tmp_path / "odd.png", "--out", tmp_path / "again").complaint


def test_repeat_replaces_no_other_picture(cli, run, photo, tmp_path):
    [drawn] = run("sample", "red", *FEW)
    (tmp_path / "again").mkdir()
    mine = tmp_path / "again" / drawn.name
    mine.write_bytes(photo.read_bytes())
    [again] = run("repeat", drawn, out="again", model=None)
    assert (again != mine, again.read_bytes()) == (True, drawn.read_bytes())
    assert mine.read_bytes() == photo.read_bytes()
    assert "was there already" in cli("repeat", drawn, "--out", tmp_path / "again").err


def test_repeat_refuses_what_has_changed(cli, run, photo, tmp_path):
    [edited] = run("edit", photo, "red", "--strength", 0.5, *FEW)
    argv = ("repeat", edited, "--out", tmp_path / "again")
    moved = photo.rename(tmp_path / "moved.png")
    assert "photo.png', is not here; give it as image" in cli(*argv).complaint
    assert cli(*argv, "--image", moved).code == 0
    Image.new("RGB", (32, 32), "red").save(photo)
    assert "pixels have changed" in cli(*argv).complaint
    assert "holds the picture itself" in cli("repeat", edited, "--out", edited.parent).complaint
