"""Colour profiles: what networks are shown is sRGB, and a picture keeps what it has."""

import io
import re
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from glide_jax import colours, images
from tests import profiles

LEVELS = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)


def with_profile(mode: str, profile: bytes) -> Image.Image:
    pixels = LEVELS[..., 0] if mode == "L" else LEVELS[..., : len(mode)]
    image = Image.frombytes(mode, (7, 9), np.ascontiguousarray(pixels).tobytes())
    image.info["icc_profile"] = profile
    return image


def right(image: Image.Image) -> np.ndarray:
    """What littleCMS makes of a picture."""
    profile = io.BytesIO(image.info["icc_profile"])
    srgb = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB"))


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("RGB", profiles.wide()), ("L", profiles.grey()), ("CMYK", profiles.inks())],
)
def test_networks_see_srgb(mode, profile):
    image = with_profile(mode, profile)
    seen = np.asarray(colours.own(image).upright)
    np.testing.assert_array_equal(seen, right(image))
    assert np.abs(seen.astype(int) - np.asarray(image.convert("RGB"))).mean() > 5


def test_the_own_colours_stay_where_a_png_can_hold_them():
    wide = with_profile("RGB", profiles.wide())
    own = colours.own(wide)
    np.testing.assert_array_equal(own.image, wide)
    assert own.image.info == {"icc_profile": profiles.wide()}
    assert own.changes == []
    for image in (with_profile("L", profiles.grey()), with_profile("CMYK", profiles.inks())):
        own = colours.own(image)
        np.testing.assert_array_equal(own.image, right(image))
        assert own.image.info == {}
        assert own.changes == [f"its {image.mode} colours become sRGB"]


def test_the_way_back_is_the_way_there():
    image = with_profile("RGB", profiles.wide())
    dull = Image.fromarray(np.asarray(image) // 4 + 90)  # within both
    dull.info = image.info
    own = colours.own(dull)
    back = np.asarray(colours.from_srgb(own.upright, own.profile), int)
    assert np.abs(back - np.asarray(dull)).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_pixels_in_srgb_stay_whatever_the_profile_is_called(mode):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = with_profile("RGB", srgb).convert(mode)
    image.info["icc_profile"] = srgb
    np.testing.assert_array_equal(colours.own(image).upright, image.convert("RGB"))


def test_grey_may_have_a_profile_of_colours():
    image = with_profile("L", profiles.wide())
    expected = image.convert("RGB")
    expected.info["icc_profile"] = profiles.wide()
    np.testing.assert_array_equal(colours.own(image).upright, right(expected))


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("RGB", b"no profile"), ("RGB", profiles.wide()[:200]), ("RGB", profiles.grey()),
     ("RGB", profiles.inks()), ("CMYK", profiles.wide())],
)  # fmt: skip
def test_a_profile_of_no_use_is_left_out_and_told(mode, profile):
    image = with_profile(mode, profile)
    with pytest.warns(UserWarning, match="profile cannot be used"):
        own = colours.own(image)
    np.testing.assert_array_equal(own.image, image.convert("RGB"))
    assert own.image.info == {}


def test_transparency_lies_over_white_in_srgb():
    layer = with_profile("RGBA", profiles.wide())
    own = colours.own(layer)
    np.testing.assert_array_equal(own.image, layer)
    ground = Image.new("RGBA", layer.size, "white")
    over = Image.alpha_composite(ground, layer).convert("RGB")
    over.info["icc_profile"] = profiles.wide()
    np.testing.assert_array_equal(own.upright, right(over))


def test_a_grey_layer_keeps_its_alpha():
    grey = with_profile("L", profiles.grey())
    layer = Image.merge("LA", [grey, Image.fromarray(LEVELS[..., 3])])
    layer.info = grey.info
    own = colours.own(layer)
    np.testing.assert_array_equal(np.asarray(own.image)[..., 3], LEVELS[..., 3])
    np.testing.assert_array_equal(np.asarray(own.image)[..., :3], right(grey))


def test_an_opaque_layer_is_rgb():
    layer = Image.new("RGBA", (4, 4), (1, 2, 3, 255))
    assert colours.own(layer).image.mode == "RGB"


XMP = (
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:tiff="tiff:" '
    'xmlns:dc="dc:"><rdf:Description %s/></rdf:RDF>'
)


def unmarked(xmp: str) -> str:
    """A picture's XMP without the one element that says that the picture was drawn."""
    rest, marks = re.subn(r'<rdf:Description [^<>]*"urn:glide_jax:ns/"[^<>]*/>', "", xmp)
    assert marks == 1
    return rest


def test_exif_and_texts_stay_and_the_orientation_is_done(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "somebody"
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "{}" * 5000)
    texts.add_itxt("XML:com.adobe.xmp", XMP % 'tiff:Orientation="6" dc:title="犬"')
    texts.add_itxt("Título", "no keyword of a PNG")
    with_profile("RGB", profiles.wide()).save(tmp_path / "a.png", exif=exif, pnginfo=texts)
    own = colours.own(images.read(tmp_path / "a.png")).image
    images.write_png(tmp_path / "b.png", own, {"prompt": "x"})
    again = images.read(tmp_path / "b.png")
    assert again.size == (9, 7)
    assert again.info["workflow"] == "{}" * 5000
    assert unmarked(again.info["XML:com.adobe.xmp"]) == XMP % ' dc:title="犬"'
    assert again.info["icc_profile"] == profiles.wide()
    assert (again.getexif().get(0x0112), again.getexif()[0x013B]) == (None, "somebody")
    assert images.read_parameters(tmp_path / "b.png") == {"prompt": "x"}
    # What went in was ours once, too: its record is not the new picture's.
    assert images.METADATA not in colours.own(again).image.info


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_broken_exif_record_is_left_out_and_told(tmp_path, kind):
    Image.new("RGB", (4, 4), "red").save(
        tmp_path / "a", kind, exif=b"Exif\0\0garbage", lossless=True
    )
    with pytest.warns(UserWarning, match="EXIF record cannot be read"):
        own = colours.own(images.read(tmp_path / "a"))
    assert own.image.info == {}
    assert own.image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_exif_and_xmp_come_out_of_other_formats(tmp_path, kind):
    exif, xmp = Image.Exif(), (XMP % 'dc:title="x"').encode()
    exif[0x013B] = "somebody"
    with_profile("RGB", profiles.wide()).save(tmp_path / "a", kind, exif=exif, xmp=xmp)
    own = colours.own(images.read(tmp_path / "a")).image
    images.write_png(tmp_path / "b.png", own, {})
    again = images.read(tmp_path / "b.png")
    assert again.getexif()[0x013B] == "somebody"
    assert unmarked(again.info["XML:com.adobe.xmp"]) == xmp.decode()


def test_sixteen_bits_become_the_nearest_of_eight(tmp_path):
    deep = np.array([[0, 128, 129, 257, 32767, 32768, 65406, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    own = colours.own(images.read(tmp_path / "a.png"))
    assert np.asarray(own.image)[0, :, 0].tolist() == [0, 0, 1, 1, 127, 128, 254, 255]
    assert own.changes == ["it has 16 bits a channel, of which 8 are left"]


def test_sixteen_bits_of_colour_are_told(tmp_path):
    import struct
    import zlib

    chunk = lambda kind, data: (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    data = head + chunk(b"IDAT", zlib.compress(b"\0\x12\x34\x56\x78\x9a\xbc")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(data)
    own = colours.own(images.read(tmp_path / "a.png"))
    assert own.image.getpixel((0, 0)) == (0x12, 0x56, 0x9A)
    assert own.changes == ["it has 16 bits a channel, of which 8 are left"]


def test_nothing_is_told_of_an_ordinary_picture():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert colours.own(Image.new("RGB", (4, 4))).changes == []
