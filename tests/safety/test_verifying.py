"""A picture's claims are found in every format, and nothing else's is taken for one of ours."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from glide_jax import InputError, images
from glide_jax.provenance import COMPOSITE, TRAINED, packet
from glide_jax.safety import verifying

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
DRAWN = {"model": "shapes", "edit": None, "prompt": "red"}


@pytest.fixture
def ours(tmp_path):
    """A picture of ours in a format."""

    def write(kind: str, source: str = TRAINED):
        path = tmp_path / f"a.{kind}"
        if kind == "png":
            images.write_png(path, RGB, DRAWN, source=source)
        else:
            path.write_bytes(images.lossy(RGB, kind, 80, source, DRAWN))
        return path

    return write


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("source", [TRAINED, COMPOSITE])
def test_a_picture_as_it_was_written(ours, kind, source):
    verdict = verifying.verify(ours(kind, source))
    assert (verdict.ours, verdict.altered) == (True, False)
    assert source in verdict.words
    assert "as it was written; no C2PA record." in verdict.words


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((8, 8)),
        lambda image: image.crop((1, 1, 9, 9)),
        lambda image: Image.eval(image, lambda level: level ^ (level == 100)),
    ],
)
def test_other_pixels_under_the_same_mark_are_altered(ours, kind, change):
    path = ours(kind)
    image = images.read(path)
    changed = change(image)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", image.info["xmp"].decode())
    how = dict(pnginfo=info) if kind == "png" else dict(xmp=image.info["xmp"])
    changed.save(path, **how)
    verdict = verifying.verify(path)
    assert (verdict.ours, verdict.altered) == (True, True)
    assert "altered since it was written" in verdict.words


def test_parameters_without_a_mark_leave_open_whether_it_was_altered(tmp_path):
    images.write_png(tmp_path / "a.png", RGB, DRAWN, source="")
    verdict = verifying.verify(tmp_path / "a.png")
    assert (verdict.ours, verdict.altered) == (True, None)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pictures_of_others_are_not_ours(tmp_path, kind):
    RGB.save(tmp_path / "a", kind)
    verdict = verifying.verify(tmp_path / "a")
    assert (verdict.ours, verdict.altered) == (False, None)
    assert verdict.words == "no picture of glide_jax; no C2PA record."


def test_the_mark_of_another_program_is_named_and_not_ours(tmp_path):
    xmp = packet(TRAINED, None, "0" * 64).replace("urn:glide_jax:ns/", "urn:other/")
    RGB.save(tmp_path / "a.webp", xmp=xmp.encode())
    verdict = verifying.verify(tmp_path / "a.webp")
    assert not verdict.ours
    assert "its XMP claims trainedAlgorithmicMedia" in verdict.words


@pytest.mark.parametrize(
    "xmp",
    ["glide_jax", "<glide_jax:version>1</glide_jax:version>", "\x1b[31m", "urn:glide_jax:ns/"],
)
def test_words_that_look_like_ours_are_no_claim(tmp_path, xmp):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    info.add_text("parameters", "glide_jax")
    RGB.save(tmp_path / "a.png", pnginfo=info)
    assert not verifying.verify(tmp_path / "a.png").ours


def test_words_of_a_mark_cannot_control_a_terminal(tmp_path):
    xmp = packet(TRAINED, None, "0" * 64).replace(TRAINED, "&#x9b;31m" + "x" * 5000)
    RGB.save(tmp_path / "a.webp", xmp=xmp.encode())
    words = verifying.verify(tmp_path / "a.webp").words
    assert words.isprintable()
    assert len(words) < 400


def test_what_is_no_picture_is_an_error(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    for name in ("a.png", "missing.png"):
        with pytest.raises(InputError):
            verifying.verify(tmp_path / name)


def test_a_record_of_c2pa_is_named_where_it_cannot_be_checked(ours, monkeypatch):
    path = ours("png")
    with Image.open(path) as image:
        image.load()
    buffer = io.BytesIO(path.read_bytes())
    info = PngImagePlugin.PngInfo()
    info.add(b"caBX", b"jumb c2pa")
    Image.open(buffer).save(path, pnginfo=info)
    monkeypatch.setattr(verifying.importlib.util, "find_spec", lambda name: None)
    assert "a C2PA record that is not checked: pip install" in verifying.verify(path).words
