"""Decoding: every picture that has one right meaning gives it, and every other one is rejected."""

import base64
import contextlib
import io
import os
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from glide_jax.data import example
from glide_jax.data.example import Rejected, captions_of, decode
from tests import profiles


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    return Image.fromarray(pixels)


def rejected(data):
    with pytest.raises(Rejected) as caught:
        decode(data, "a.png")
    assert "a.png" in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_pictures_come_back_exactly(picture, kind):
    np.testing.assert_array_equal(decode(encoded(picture, kind)), np.asarray(picture))


def test_lossy_pictures_come_back_nearly():
    grey = Image.new("RGB", (8, 8), (90, 120, 200))
    for kind in ("JPEG", "WEBP", "GIF"):
        pixels = decode(encoded(grey, kind)).astype(int)
        assert np.abs(pixels - (90, 120, 200)).max() <= 8


def test_a_path_a_file_and_bytes_are_the_same(picture, tmp_path):
    data = encoded(picture)
    (tmp_path / "a.png").write_bytes(data)
    for form in (data, io.BytesIO(data), tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(decode(form), np.asarray(picture))
    assert rejected(tmp_path / "none.png") == "unreadable file"


def test_grey_black_and_white_and_palette_become_rgb():
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    want = np.repeat(np.asarray(grey)[..., None], 3, 2)
    np.testing.assert_array_equal(decode(encoded(grey)), want)
    np.testing.assert_array_equal(decode(encoded(grey.convert("P"))), want)
    assert set(np.unique(decode(encoded(grey.convert("1"))))) <= {0, 255}


def test_transparency_lies_on_white():
    image = Image.new("RGBA", (3, 1), (200, 0, 0, 255))
    image.putpixel((1, 0), (200, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 51))
    assert decode(encoded(image))[0].tolist() == [[200, 0, 0], [255, 255, 255], [204, 204, 204]]
    palette = Image.new("P", (1, 1))
    palette.putpalette([10, 20, 30])
    assert decode(encoded(palette, transparency=0))[0, 0].tolist() == [255, 255, 255]


def test_a_picture_taken_sideways_stands_upright(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter to the right
    turned = decode(encoded(picture, exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(np.asarray(picture), -1))


@pytest.mark.parametrize(
    ("mode", "kind", "profile"),
    [("RGB", "PNG", profiles.wide()), ("RGB", "JPEG", profiles.wide()),
     ("L", "PNG", profiles.grey()), ("CMYK", "JPEG", profiles.inks()),
     ("CMYK", "TIFF", profiles.inks())],
)  # fmt: skip
def test_colours_in_a_profile_become_srgb(picture, mode, kind, profile):
    data = encoded(picture.convert(mode), kind, icc_profile=profile)
    stored = Image.open(io.BytesIO(data))
    srgb = ImageCms.createProfile("sRGB")
    expected = ImageCms.profileToProfile(stored, io.BytesIO(profile), srgb, outputMode="RGB")
    np.testing.assert_array_equal(decode(data), expected)
    assert np.abs(decode(data).astype(int) - np.asarray(stored.convert("RGB"))).mean() > 3


def test_a_broken_profile_spoils_no_picture(picture):
    with pytest.warns(UserWarning, match="profile cannot be used"):
        pixels = decode(encoded(picture, icc_profile=b"junk"))
    np.testing.assert_array_equal(pixels, np.asarray(picture))
    inks = encoded(picture.convert("CMYK"), "JPEG", icc_profile=b"junk")
    with pytest.warns(UserWarning, match="profile cannot be used"):
        assert rejected(inks) == "foreign mode"


def test_pixels_may_be_written_to(picture):
    decode(encoded(picture))[0, 0] = 0


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "F", "LAB", "I"])
def test_modes_without_one_meaning_are_foreign(mode):
    kind = "PNG" if mode == "I;16" else "TIFF"
    assert rejected(encoded(Image.new(mode, (4, 4)), kind)) == "foreign mode"
    assert rejected(encoded(Image.new("CMYK", (4, 4)), "JPEG")) == "foreign mode"


def test_truncated_and_foreign_bytes_are_corrupt(picture):
    large = picture.resize((90, 60))
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        data = encoded(large, kind)
        assert rejected(data[: len(data) // 2]) == "corrupt image"
    for data in (b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0 and no more"):
        assert rejected(data) == "corrupt image"


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b"", "empty file", "no bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "Git LFS pointer",
         "git lfs pull"),
        (b"\n <!DOCTYPE HTML><title>403</title>", "web page", "HTML"),
        (b"\xef\xbb\xbf<html lang='en'>", "web page", "HTML"),
        (b'{"error": "not found"}', "JSON text", "server"),
        (b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>", "XML text", "server"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<svg xmlns='x'/>", "SVG drawing", "pixels"),
        (b"<svg/>", "SVG drawing", "pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%EndProlog\n", "PostScript document", "made a picture"),
        (b"%PDF-1.7\n", "PDF document", "pages"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC picture", "JPEG"),
        (b"\0\0\0\x18ftypisom\0\0\2\0", "video", "picture"),
        (b"PK\3\4" + bytes(30), "archive", "unpacked"),
        (bytes(5000), "file of zeros", "lost"),
        (b"hello", "corrupt image", "begins with b'hello'"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_named_in_words_that_a_person_knows(data, reason, words):
    with pytest.raises(Rejected) as caught:
        decode(data, "photo.jpg")
    assert caught.value.reason == reason
    assert caught.value.detail.startswith("photo.jpg: ")
    assert words in caught.value.detail
    assert "BytesIO" not in str(caught.value)


AVIF = base64.b64decode(  # 16 x 16 pixels of (200, 10, 10)
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAA"
    "AAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAKgAAAChpaW5mAAAAAAABAAAA"
    "GmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAQcGl4aQAA"
    "AAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAMm1kYXQS"
    "AAoJGAz/2iAhoNCAMhsXh4eGIYSSSSZQAAAAOtb10MSbaR9LdpHse0A="
)


def test_avif_by_another_name_is_read_where_pillow_can(monkeypatch):
    Image.init()
    if "AVIF" in Image.OPEN:
        assert abs(int(decode(AVIF, "a.jpg")[8, 8, 0]) - 200) < 9
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "AVIF"})
    with pytest.raises(Rejected, match="a newer one can") as caught:
        decode(AVIF, "a.jpg")
    assert caught.value.reason == "AVIF picture"


def test_a_pipe_a_device_and_a_giant_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    with open(tmp_path / "giant.jpg", "wb") as file:
        file.truncate(1 << 40)
    for name, reason in (
        ("pipe.jpg", "unreadable file"), ("zero.jpg", "unreadable file"),
        ("folder.jpg", "unreadable file"), ("giant.jpg", "too large"), ("a\0b", "unreadable file"),
        ("\ud800", "unreadable file"), ("n" * 5000, "unreadable file"),
    ):  # fmt: skip
        with pytest.raises(Rejected) as caught:
            decode(tmp_path / name, name)
        assert caught.value.reason == reason


def test_a_name_that_moves_the_cursor_is_shown_escaped_and_a_long_one_cut():
    with pytest.raises(Rejected) as caught:
        decode(b"", "a\x1b[2Jé\n" + "b" * 9999)
    assert caught.value.detail.startswith("a\\x1b[2Jé\\nbbb")
    assert len(caught.value.detail) < 400


@pytest.mark.filterwarnings("ignore")  # Pillow has much to say of them
def test_flipped_bytes_never_raise_anything_else(picture):
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "BMP"):
        data = np.frombuffer(encoded(picture, kind), np.uint8)
        for _ in range(60):
            broken = data.copy()
            broken[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
            with contextlib.suppress(Rejected):
                assert decode(broken.tobytes()).dtype == np.uint8


@pytest.mark.filterwarnings("ignore")
def test_a_decompression_bomb_is_rejected_before_it_opens():
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    for side in (9000, 100_000):  # beyond our limit, and beyond Pillow's own
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        data = head + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
        assert side**2 > example.MOST_PIXELS
        assert rejected(data) == "too large"


def test_captions_are_stripped_and_blank_or_broken_ones_left_out():
    assert captions_of([" a cat \n", "", "  ", None, 3, "half \ud800", "日本"]) == ("a cat", "日本")
    assert captions_of("one") == ("one",)
    for nothing in (None, [], "", [" \n"], ["\udc00"]):
        with pytest.raises(Rejected, match=r"no caption \(x\.png\)"):
            captions_of(nothing, "x.png")


def test_a_rejection_survives_the_way_from_a_worker():
    back = pickle.loads(pickle.dumps(Rejected("too small", "3 x 3")))
    assert (back.reason, back.detail, str(back)) == ("too small", "3 x 3", "too small (3 x 3)")
