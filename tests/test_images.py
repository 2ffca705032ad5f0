"""Pictures of every kind go in, and what is known of them comes out."""

import os

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from glide_jax import InputError, images
from glide_jax.sampling import canvas

GRADIENT = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_every_level_survives_the_way_to_floats_and_back():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(images.to_uint8(images.from_uint8(levels)), levels)
    assert images.to_uint8(np.array([-3.0, 3.0])).tolist() == [0, 255]


def known(image: Image.Image, size: int = 16) -> np.ndarray:
    """What the model is shown of a picture, as 8 bits."""
    mask = Image.new("L", image.size, 255)
    return images.to_uint8(canvas.region(image, mask, size).shown)


RGB = Image.fromarray(np.stack([GRADIENT, GRADIENT[::-1], GRADIENT.T], -1))


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "P", "1", "L", "LA"]
)
def test_pictures_of_every_mode_are_read(mode):
    # What Pillow itself makes of the mode is right.
    image = RGB.convert(mode)
    np.testing.assert_array_equal(known(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tiff", "ppm"])
def test_files_of_every_kind_are_read(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    RGB.save(path)
    assert np.abs(known(images.read(path)).astype(int) - np.asarray(RGB)).mean() < 40


def test_a_png_with_large_texts_is_a_picture(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
    info.add_text("workflow", "y" * 3_000_000, zip=True)
    RGB.save(tmp_path / "a.png", pnginfo=info)
    np.testing.assert_array_equal(known(images.read(tmp_path / "a.png")), np.asarray(RGB))


def test_a_format_that_runs_a_program_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(InputError, match="not a picture"):
        images.read(tmp_path / "a.png")


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    Image.fromarray(GRADIENT.astype(np.uint16) * 257).save(tmp_path / "a.png")
    expected = np.repeat(GRADIENT[..., None], 3, -1)
    np.testing.assert_array_equal(known(images.read(tmp_path / "a.png")), expected)


def test_fractions_are_refused():
    with pytest.raises(InputError, match="mode 'F'"):
        known(Image.fromarray(np.zeros((4, 4), np.float32)))


def test_transparency_shows_white():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (known(image, 4) == 255).all()
    palette = Image.new("P", (4, 4))
    palette.info["transparency"] = 0
    assert (known(palette, 4) == 255).all()


def test_the_camera_s_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    RGB.save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(np.asarray(RGB), -1)
    np.testing.assert_array_equal(known(images.read(tmp_path / "a.png")), upright)


def test_the_first_picture_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert known(images.read(tmp_path / "a.gif"), 4)[0, 0].tolist() == [255, 0, 0]


def test_a_single_pixel_is_a_picture():
    assert known(Image.new("RGB", (1, 1), "red")).shape == (16, 16, 3)


def test_shrinking_knows_a_pixel_only_if_all_of_it_was_known():
    mask = np.ones((4, 4, 1), np.float32)
    mask[0, 0] = 0
    plane = np.arange(48, dtype=np.float32).reshape(4, 4, 3)
    assert images.shrunk(mask, 2, np.min)[..., 0].tolist() == [[0, 1], [1, 1]]
    np.testing.assert_allclose(images.shrunk(plane, 2)[0, 0], plane[:2, :2].mean((0, 1)))


def test_a_png_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "a.png"
    images.write_png(path, RGB, {"prompt": "a\0b \U0001f600 é"})
    before = path.read_bytes()

    def fail(self, file, **_):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space") as caught:
        images.write_png(path, RGB, {})
    assert caught.value.filename == str(path)
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    assert path.read_bytes() == before


def test_parameters_of_anything_else_are_none(tmp_path):
    RGB.save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("hello")
    for name in ("plain.png", "text.png", "missing.png"):
        assert images.read_parameters(tmp_path / name) is None


def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="cannot be read: it is no file"):
        images.read(tmp_path / "a.png")
    assert images.read_parameters(tmp_path / "a.png") is None


def test_a_name_of_any_length_is_cut():
    with pytest.raises(InputError) as caught:
        images.read("x" * 100_000)
    assert len(str(caught.value)) < 400
