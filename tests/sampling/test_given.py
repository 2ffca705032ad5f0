"""Pictures as people give them."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from glide_jax import InputError
from glide_jax.sampling import given
from glide_jax.sampling.picture import Picture

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
IMAGE = Image.fromarray(PIXELS)


@pytest.mark.parametrize(
    "value",
    [
        IMAGE,
        PIXELS,
        PIXELS[::-1][::-1],
        PIXELS.astype(np.int64),
        PIXELS.astype(np.uint16),
        PIXELS / 255.0,
        (PIXELS / 255.0).astype(np.float32),
        jnp.asarray(PIXELS),
        jnp.asarray(PIXELS / 255.0, jnp.float32),
        Picture(IMAGE, IMAGE, {}),
    ],
)
def test_all_that_is_a_picture_is_taken(value):
    np.testing.assert_array_equal(given.picture("image", value), PIXELS)


def test_a_path_is_read_and_remembered(tmp_path):
    IMAGE.save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        picture = given.picture("image", path)
        np.testing.assert_array_equal(picture, PIXELS)
        assert str(picture.filename) == str(path)  # pyright: ignore[reportAttributeAccessIssue]


def test_a_tilde_is_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    IMAGE.save(tmp_path / "a.png")
    np.testing.assert_array_equal(given.picture("image", "~/a.png"), PIXELS)


def test_grey_alpha_booleans_and_half_precision():
    grey, layer = PIXELS[..., 0], np.dstack([PIXELS, PIXELS[..., :1]])
    np.testing.assert_array_equal(given.picture("mask", grey), grey)
    np.testing.assert_array_equal(given.picture("mask", grey[..., None]), grey)
    np.testing.assert_array_equal(given.picture("image", layer), layer)
    for array in (grey > 9, jnp.asarray(grey > 9), np.float32(grey > 9)):
        np.testing.assert_array_equal(given.picture("mask", array), np.where(grey > 9, 255, 0))
    halves = jnp.asarray([[0.0, 0.5, 1.0]], jnp.bfloat16)
    np.testing.assert_array_equal(given.picture("mask", halves), [[0, 128, 255]])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "image is None; it must be a Pillow picture, a path, an array"),
        (5, "image is 5"),
        (b"bytes", "it must be"),
        ([[1, 2]], "it must be"),
        (PIXELS.transpose(2, 0, 1), r"shape \(3, 6, 9\); it must be \(h, w\)"),
        (PIXELS[None], r"shape \(1, 6, 9, 3\)"),
        (PIXELS[..., :2], r"shape \(6, 9, 2\)"),
        (PIXELS[:0], r"shape \(0, 9, 3\)"),
        (np.float32(3), r"shape \(\)"),
        (PIXELS / 127.5 - 1, r"from -1 to 0.95\d+; .* give \(x \+ 1\) / 2"),
        (PIXELS.astype(np.float32), r"float32 from 0 to 2\d+; fractions must be in 0 to 1"),
        (PIXELS.astype(np.int16) * 200, "int16 from "),
        (PIXELS.astype(np.int16) - 1, "int16 from -1 to"),
        (np.full((2, 2), np.nan), "from nan to nan"),
        (PIXELS.astype(complex), "complex128; it must be one of numbers"),
        (np.array([["a"]]), "it must be one of numbers"),
        (np.array([[None]]), "it must be one of numbers"),
        (Image.new("RGB", (0, 3)), "no pixels; it is 0 x 3"),
        ("none.png", "does not exist"),
    ],
)
def test_everything_else_is_refused_in_a_sentence(value, says):
    with pytest.raises(InputError, match=says):
        given.picture("image", value)


def test_a_broken_file_of_pillow_s_is_refused(tmp_path):
    IMAGE.resize((200, 200)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(InputError, match="cannot be read"):
        given.picture("image", image)
