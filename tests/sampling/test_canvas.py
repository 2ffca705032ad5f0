"""Windows, masks and joins of pictures, on pixels that one can count."""

import numpy as np
import pytest
from PIL import Image

from glide_jax import colours, images
from glide_jax.sampling import canvas
from launch.studies import seams
from tests import profiles


def picture(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


def box(height: int, width: int, rows: slice, columns: slice, grey: int = 255) -> Image.Image:
    mask = np.zeros((height, width), np.uint8)
    mask[rows, columns] = grey
    return Image.fromarray(mask)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns", "window"),
    [
        (64, 64, slice(10, 20), slice(10, 20), (0, 0, 64)),  # the whole of a picture of its size
        (300, 400, slice(140, 160), slice(200, 220), (178, 118, 64)),  # as large as the model's
        (300, 400, slice(0, 10), slice(390, 400), (336, 0, 64)),  # moved into the picture
        (300, 400, slice(100, 200), slice(100, 120), (35, 75, 150)),  # with context
        (100, 400, slice(0, 100), slice(0, 400), (0, -150, 400)),  # beyond two edges
        (20, 50, slice(0, 5), slice(0, 5), (0, 0, 20)),  # a small picture
    ],
)
def test_a_window_holds_what_is_painted_with_context(height, width, rows, columns, window):
    paint = np.zeros((height, width), bool)
    paint[rows, columns] = True
    left, top, side = found = canvas.window_around(paint, 64)
    assert found == window
    inside = paint[max(top, 0) : top + side, max(left, 0) : left + side]
    assert inside.sum() == paint.sum()


@pytest.mark.parametrize(
    ("margin", "window"),
    [(0.0, (100, 60, 20)), (0.5, (90, 50, 40)), (8, (0, 0, 256)), (0.02, (99, 59, 21))],
)
def test_a_margin_is_counted_from_the_hole_whatever_the_models_size(margin, window):
    paint = np.zeros((256, 256), bool)
    paint[60:80, 100:120] = True
    assert canvas.window_around(paint, 64, margin) == window


def test_a_small_hole_is_shown_enlarged_and_comes_back_at_its_size():
    image, mask = Image.new("RGB", (256, 256), "white"), Image.new("L", (256, 256))
    mask.paste(255, (100, 60, 120, 80))
    part = canvas.region(image, mask, 64, 0.5)
    assert part.shown.shape == (64, 64, 3)
    assert (part.mask_known == 0).mean() == 0.25
    drawn = Image.new("RGB", (64, 64), "white")
    drawn.paste("red", (24, 24, 40, 40))  # 10 pixels of the picture
    changed = (np.asarray(canvas.paste(part, drawn)) != 255).any(-1)
    assert changed[65:75, 105:115].all()
    changed[60:80, 100:120] = False
    assert not changed.any()


def test_what_lies_beyond_the_picture_is_painted():
    mask = box(40, 100, slice(None), slice(None))
    part = canvas.region(picture(40, 100), mask, 50)
    assert part.window == (0, -30, 100)
    assert not part.mask_known.any()
    thin = box(40, 100, slice(0, 1), slice(None))
    part = canvas.region(picture(40, 100), thin, 50)
    known = part.mask_known[..., 0]
    assert not known[:16].any()  # above the picture, and the thin line
    assert known[16:35].all()
    assert not known[35:].any()


def test_white_is_painted_black_is_kept_and_grey_is_blended():
    image = Image.new("RGB", (16, 16), (100, 100, 100))
    mask = np.zeros((16, 16), np.uint8)
    mask[:4], mask[4:8], mask[8:12] = 255, 128, 10  # a JPEG's black is not quite 0
    part = canvas.region(image, Image.fromarray(mask), 16)
    np.testing.assert_array_equal(part.mask_known[:, 0, 0], np.repeat([0.0, 1.0], 8))
    drawn = np.full((16, 16, 3), 100, np.uint8)
    drawn[:8] = 200
    out = np.asarray(canvas.paste(part, Image.fromarray(drawn)))
    np.testing.assert_array_equal(out[8:], 100)
    np.testing.assert_array_equal(out[:4], 200)
    np.testing.assert_array_equal(out[4:8], 150)


@pytest.mark.parametrize("size", [16, 64])
def test_pasting_touches_no_pixel_where_the_mask_is_black(size):
    image, mask = picture(45, 80), box(45, 80, slice(10, 30), slice(20, 60))
    part = canvas.region(image, mask, size)
    out = np.asarray(canvas.paste(part, picture(size, size)))
    black = np.asarray(mask) == 0
    np.testing.assert_array_equal(out[black], np.asarray(image)[black])
    assert (out[~black] != np.asarray(image)[~black]).mean() > 0.9


def layer(height: int, width: int) -> Image.Image:
    """A picture whose left half is transparent, with colours below that nobody sees."""
    pixels = np.random.default_rng(2).integers(0, 256, (height, width, 4), np.uint8)
    pixels[:, : width // 2, 3] = 0
    return Image.fromarray(pixels)


def test_transparency_is_kept_with_the_colours_below_and_painted_pixels_are_opaque():
    image, mask = layer(45, 80), box(45, 80, slice(10, 30), slice(20, 60))
    part = canvas.region(image, mask, 64)
    out = np.asarray(canvas.paste(part, picture(64, 64)))
    white = np.asarray(mask) > 0
    np.testing.assert_array_equal(out[~white], np.asarray(image)[~white])
    assert (out[white][:, 3] == 255).all()
    # The model sees white there.
    corner = canvas.region(Image.new("RGBA", (16, 16)), box(16, 16, slice(8), slice(8)), 16)
    assert (corner.shown == 1).all()


def test_grey_of_a_mask_over_transparency_takes_the_drawn_colour_and_its_share():
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    mask = np.zeros((16, 16), np.uint8)
    mask[:4], mask[4:8] = 255, 128
    part = canvas.region(image, Image.fromarray(mask), 16)
    out = np.asarray(canvas.paste(part, Image.new("RGB", (16, 16), "white")))
    assert out[:4].reshape(-1, 4).tolist() == [[255, 255, 255, 255]] * 64
    assert out[4:8].reshape(-1, 4).tolist() == [[255, 255, 255, 128]] * 64
    assert out[8:].reshape(-1, 4).tolist() == [[255, 0, 0, 0]] * 128


def test_the_painted_is_in_the_picture_s_own_colours_and_the_rest_as_it_was():
    image = Image.fromarray(np.asarray(picture(16, 16)) // 8 + 100)  # all within sRGB, too
    mask = box(16, 16, slice(0, 8), slice(None))
    image.info["icc_profile"] = profiles.wide()
    part = canvas.region(image, mask, 16)
    seen = images.to_uint8(part.shown)
    np.testing.assert_array_equal(seen, colours.own(image).upright)
    drawn = Image.new("RGB", (16, 16), (200, 100, 50))
    # All that is kept was drawn as it is, so that no difference is spread into the mask.
    drawn.paste(Image.fromarray(seen).crop((0, 8, 16, 16)), (0, 8))
    out = canvas.paste(part, drawn)
    assert out.info == {"icc_profile": profiles.wide()}
    np.testing.assert_array_equal(np.asarray(out)[8:], np.asarray(image)[8:])
    assert np.abs(np.asarray(colours.own(out).upright, int)[0] - (200, 100, 50)).max() <= 3


def test_a_canvas_keeps_transparency_and_profile_where_it_is_extended():
    image = layer(8, 8)
    image.info["icc_profile"] = profiles.wide()
    larger, mask = canvas.extended(image, None, (0, 0, 4, 0))
    out = canvas.paste(canvas.region(larger, mask, 12), picture(12, 12))
    np.testing.assert_array_equal(np.asarray(out)[:, :8], image)
    assert (np.asarray(out)[:, 8:, 3] == 255).all()
    assert out.info == {"icc_profile": profiles.wide()}


def test_transparency_and_own_colours_tell_pictures_apart_where_they_matter():
    image, hidden = layer(8, 8), np.array(layer(8, 8))
    hidden[:, :4, :3] = 7
    same = [canvas.identity(i) for i in (image, Image.fromarray(hidden))]
    assert same[0] == same[1]
    other = [canvas.identity(i, whole=True) for i in (image, Image.fromarray(hidden))]
    assert other[0] != other[1]
    assert canvas.identity(picture(8, 8), whole=True) == canvas.identity(picture(8, 8))


def test_a_difference_around_the_mask_leaves_no_seam():
    # A slope, drawn 30 levels too bright: what a clone without a membrane would show as a step.
    slope = np.broadcast_to(np.arange(100)[None, :, None], (60, 100, 3)).astype(np.uint8) + 60
    mask = box(60, 100, slice(20, 40), slice(30, 70))
    part = canvas.region(Image.fromarray(slope), mask, 60)
    left, top, side = part.window
    drawn = Image.fromarray(slope[top : top + side, left : left + side] + 30)
    out = np.asarray(canvas.paste(part, drawn))
    assert seams.seam(out, np.asarray(mask) > 0) < 1.1
    assert np.abs(out.astype(int) - slope).max() <= 2


def test_a_membrane_is_harmonic():
    # x and x^2 - y^2 are their own harmonic continuations.
    y, x = np.mgrid[:41, :41] / 40.0
    values = np.float32(np.stack([x, x**2 - y**2], -1))
    fixed = np.ones((41, 41), bool)
    fixed[1:-1, 1:-1] = False
    out = canvas.membrane(np.where(fixed[..., None], values, 0.0), fixed)
    assert np.abs(out - values).max() < 0.03


def test_an_extended_picture_is_white_in_the_mask_where_it_is_new():
    image, mask = canvas.extended(picture(4, 6), None, (1, 2, 3, 0))
    white = np.asarray(mask)
    assert image.size == mask.size == (10, 6)
    assert (white[2:, 1:7] == 0).all()
    assert (white == 255).sum() == 60 - 24


def test_a_picture_is_fitted_by_its_shorter_side():
    assert canvas.fitted(picture(60, 90), 32, 16).size == (48, 32)
    assert canvas.fitted(picture(90, 60), 32, 16).size == (32, 48)
    same = picture(32, 32)
    np.testing.assert_array_equal(canvas.fitted(same, 32, 16), same)


def test_the_same_pixels_are_the_same_picture_in_any_file(tmp_path):
    image = picture(8, 9)
    for name in ("a.png", "a.bmp"):
        image.save(tmp_path / name)
        said = canvas.identity(Image.open(tmp_path / name))
        assert said["sha256"] == canvas.identity(image)["sha256"]
        assert said["path"] == str(tmp_path / name)
    assert canvas.identity(picture(9, 8)) != canvas.identity(image)


def test_an_animation_goes_there_and_back(tmp_path):
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "green", "blue", "white")]
    (tmp_path / "a.gif").write_bytes(canvas.gif(frames))
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 6
    assert canvas.strip(frames).size == (16, 4)
