"""Masks of many habits: understood, or refused with what is in them."""

import numpy as np
import pytest
from PIL import Image

from glide_jax import InputError
from glide_jax.sampling import canvas, strokes

WHERE = np.zeros((20, 30), bool)
WHERE[5:12, 8:21] = True
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))


def levels(there: int, elsewhere: int = 0, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.where(WHERE, there, elsewhere).astype(dtype))


def colours(there: tuple[int, ...], elsewhere: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.where(WHERE[..., None], there, elsewhere).astype(np.uint8))


def palette(there: int, *rgb: int) -> Image.Image:
    mask = Image.fromarray(np.where(WHERE, there, 0).astype(np.uint8))
    mask.putpalette([0, 0, 0, *rgb] if rgb else [k for k in range(256) for _ in range(3)])
    return mask


HOLE = Image.fromarray(np.dstack([np.asarray(PHOTO), np.where(WHERE, 0, 255).astype(np.uint8)]))


@pytest.mark.parametrize(
    ("mask", "reading"),
    [
        (levels(255), ""),
        (levels(240, 15), ""),
        (Image.fromarray(WHERE), ""),
        (colours((255, 255, 255), (0, 0, 0)), ""),
        (levels(65535, dtype=np.uint16), ""),
        (levels(255, dtype=np.uint16), ""),
        (levels(1), "its one value besides 0, 1, as white"),
        (levels(7), "its one value besides 0, 7, as white"),
        (levels(38), "its one value besides 0, 38, as white"),
        (levels(128), "its one value besides 0, 128, as white"),
        (levels(1, dtype=np.uint16), "its one value besides 0, 1, as white"),
        (levels(1, dtype=np.int32), "its one value besides 0, 1, as white"),
        (palette(1), "its one value besides 0, 1, as white"),
        (palette(1, 255, 255, 255), ""),
        (palette(1, 128, 0, 0), "#800000 as white"),  # as Pascal VOC colours its labels
        (colours((255, 0, 0), (0, 0, 0)), "#ff0000 as white"),
        (colours((255, 0, 0, 255), (0, 0, 0, 0)), "its strokes as white"),
        (colours((0, 90, 200, 255), (255, 255, 255, 0)), "its strokes as white"),
        (colours((255, 0, 0, 128), (0, 0, 0, 0)), "its strokes as white"),
        (colours((255, 255, 255, 255), (0, 0, 0, 0)), ""),
        (colours((255, 255, 255, 255), (0, 0, 0, 255)), ""),
        (HOLE, "its transparency as white"),  # as OpenAI's service takes them
    ],
)
def test_what_leaves_no_doubt_is_understood(mask, reading):
    read = strokes.read(mask, PHOTO)
    assert read.reading == reading
    np.testing.assert_array_equal(read.shares, WHERE.astype(np.float32))
    assert strokes.read(read) is read


def test_soft_edges_of_strokes_are_soft():
    soft = np.zeros((20, 30, 4), np.uint8)
    soft[..., 0], soft[:, 10:, 3], soft[:, 20:, 3] = 255, 100, 255
    shares = strokes.read(Image.fromarray(soft)).shares
    np.testing.assert_allclose(shares[0, [0, 15, 25]], [0, 100 / 255, 1])
    on_black = Image.fromarray((soft[..., :3] * (soft[..., 3:] / 255.0)).astype(np.uint8))
    np.testing.assert_allclose(strokes.read(on_black).shares, shares, atol=0.01)


def test_a_jpeg_of_strokes_is_understood(tmp_path):
    colours((255, 0, 0), (0, 0, 0)).resize((300, 200)).save(tmp_path / "a.jpg", quality=80)
    shares = strokes.read(Image.open(tmp_path / "a.jpg")).shares
    assert abs(shares.mean() - WHERE.mean()) < 0.03


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (Image.fromarray(np.where(WHERE, 3, np.arange(30) % 2).astype(np.uint8)), "0, 1, 3, so"),
        (levels(2, 1), "its values are 1, 2, so it may be a map of several labels"),
        (levels(3, 1, np.uint16), "its values are 1, 3"),
        (levels(70000, dtype=np.int32), "from 0 to 70000"),
        (levels(1, -1, np.int32), "from -1 to 1"),
        (colours((255, 0, 0), (255, 255, 255)), "#ffffff, #ff0000"),
        (colours((255, 0, 0), (0, 200, 0)), "#00c800, #ff0000"),
        (PHOTO, "is coloured .* more"),
        (colours((0, 0, 0, 0), (0, 0, 0, 255)), "black or else transparent"),
        (colours((0, 0, 0, 255), (9, 9, 9, 0)), "black or else transparent"),
        (HOLE.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "not the picture with holes"),
    ],
)
def test_what_is_in_doubt_is_refused_with_what_would_be_right(mask, says):
    with pytest.raises(InputError, match=says) as caught:
        strokes.read(mask, PHOTO)
    assert "white (255) where to paint and black (0) elsewhere." in str(caught.value)


@pytest.mark.parametrize("mask", [levels(0), levels(9, 7), colours((0,) * 4, (255,) * 3 + (0,))])
def test_nothing_to_paint_is_told(mask):
    with pytest.raises(InputError, match="the mask has no white"):
        canvas.region(PHOTO, mask, 16)


def test_a_black_mask_does_where_the_picture_is_extended():
    _, mask = canvas.extended(PHOTO, levels(0), (0, 0, 5, 0))
    assert (np.asarray(mask)[:, 30:] == 255).all()
    assert not np.asarray(mask)[:, :30].any()


def test_a_mask_that_was_not_turned_is_told_so(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    PHOTO.save(tmp_path / "a.png", exif=exif)
    with pytest.raises(InputError, match=r"20 x 30 and the mask 30 x 20; .* upright"):
        canvas.region(Image.open(tmp_path / "a.png"), levels(255), 16)
    levels(255).save(tmp_path / "b.png", exif=exif)
    part = canvas.region(Image.open(tmp_path / "a.png"), Image.open(tmp_path / "b.png"), 16)
    np.testing.assert_array_equal(part.alpha, np.rot90(WHERE, -1))
