"""Masks and sketches of the page's editor, without a browser."""

import numpy as np
import pytest
from PIL import Image

from glide_jax.errors import InputError
from glide_jax.serving import page_masks
from glide_jax.serving.page_masks import Easel


def noise(size, mode="RGB"):
    shape = (size[1], size[0], len(mode))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8), mode)


def layers(easel, paint=None):
    """The editor's value once it comes back, with a stroke as a boolean array of what it shows."""
    value = easel.value()
    shape = np.asarray(value["background"]).shape[:2]
    alpha = np.zeros(shape, np.uint8) if paint is None else paint(np.zeros(shape, np.uint8))
    layer = Image.new("RGBA", shape[::-1], page_masks.PAINT)
    layer.putalpha(Image.fromarray(alpha))
    return {"background": None, "layers": [layer], "composite": None}


@pytest.mark.parametrize("size", [(7, 5), (48, 32), (513, 20), (1024, 3), (1500, 900)])
def test_a_mask_that_goes_in_comes_out_exactly_where_nothing_is_painted(size):
    easel, mask = Easel(noise(size)), Image.new("L", size)
    mask.paste(255, (size[0] // 3, 1, size[0] // 2 + 1, size[1] - 1))
    mask.putpixel((0, 0), 100)
    value = easel.value(mask)
    assert np.array_equal(np.asarray(easel.mask(value)), np.asarray(mask))


def test_a_stroke_is_the_mask_of_the_pixels_that_it_covers():
    easel = Easel(noise((48, 32)))

    def paint(alpha):
        alpha[40:80, 100:160] = 255  # ten pixels of the screen are one of the picture
        return alpha

    expected = np.zeros((32, 48), np.uint8)
    expected[4:8, 10:16] = 255
    assert np.array_equal(np.asarray(easel.mask(layers(easel, paint))), expected)
    assert not np.asarray(easel.mask(layers(easel))).any()
    assert not np.asarray(easel.mask(None)).any()


def test_a_stroke_upon_a_mask_leaves_the_rest_of_it():
    easel, mask = Easel(noise((48, 32))), Image.new("L", (48, 32))
    mask.paste(90, (0, 0, 5, 5))
    value = easel.value(mask)
    alpha = np.array(value["layers"][0].getchannel("A"))
    alpha[200:210, 300:310] = 255
    value["layers"][0].putalpha(Image.fromarray(alpha))
    expected = np.array(mask)
    expected[20, 30] = 255
    assert np.array_equal(np.asarray(easel.mask(value)), expected)


def test_a_soft_edge_fades_outwards():
    mask = Image.new("L", (40, 40))
    mask.paste(255, (15, 15, 25, 25))
    soft = np.asarray(page_masks.softened(mask, 8))
    assert (soft[15:25, 15:25] == 255).all()
    assert 0 < soft[20, 12] < 255
    assert (soft[:5] == 0).all()
    assert page_masks.softened(mask, 0) is mask
    large = Image.new("L", (3000, 2000))
    large.paste(255, (0, 0, 1, 1))
    assert np.asarray(page_masks.softened(large, 64)).any(0).sum() == 65


def test_a_sketch_lies_upon_the_picture_which_stays_as_it_was():
    picture = noise((16, 16), "RGBA")
    before, easel = np.array(picture), Easel(picture)

    def paint(alpha):
        alpha[:32] = 255
        return alpha

    sketch = np.asarray(easel.sketch(layers(easel, paint)))
    assert (sketch[0] == page_masks.PAINT).all()
    assert np.array_equal(sketch[1:], np.asarray(easel.sketch(None))[1:])
    assert easel.picture is picture
    assert np.array_equal(np.asarray(picture), before)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "picture"),
    ],
)
def test_a_file_that_is_no_picture_is_refused(tmp_path, data, words):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=words):
        page_masks.read_picture(str(tmp_path / "a.png"), 1 << 20)


def test_a_picture_that_is_too_large_is_refused_and_forgets_its_path(tmp_path):
    path = tmp_path / "a.png"
    noise((30, 20)).save(path)
    with pytest.raises(InputError, match="30 x 20"):
        page_masks.read_picture(str(path), 599)
    assert not getattr(page_masks.read_picture(str(path), 600), "filename", "")


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(InputError, match="48 x 32 and the mask 32 x 48"):
        Easel(noise((48, 32))).read(Image.new("L", (32, 48), 255))
