"""Every picture says to machines where it comes from, in a form that other programs read."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from glide_jax import images, provenance
from glide_jax.provenance import COMPOSITE, NOT_DRAWN, TRAINED

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
RGB, HASH = Image.fromarray(PIXELS), "0123456789abcdef" * 4
DRAWN = {"model": "shapes", "edit": None, "prompt": "a red circle"}
TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
PHOTO = (  # as a photographer's program writes it
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    f'rdf:about="" xmlns:i="{IPTC}" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    f'i:DigitalSourceType="{TYPES}digitalCapture">'
    "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li></rdf:Seq></dc:creator></rdf:Description>"
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def png(image: Image.Image, parameters: dict | None, source: str | None = None) -> Image.Image:
    buffer = io.BytesIO()
    images.save_png(buffer, image, parameters, source)
    return Image.open(buffer)


def property_of(xmp: bytes, name: str) -> list[str]:
    """Every value of one of IPTC's properties, as a reader of XMP finds them."""
    root = ElementTree.fromstring(xmp.decode())
    attributes = [
        e.attrib[key] for e in root.iter() for key in [f"{{{IPTC}}}{name}"] if key in e.attrib
    ]
    return attributes + [e.text or "" for e in root.iter(f"{{{IPTC}}}{name}")]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    ("edit", "source"),
    [(None, TRAINED), ({"kind": "interpolate"}, TRAINED), ({"kind": "inpaint"}, COMPOSITE),
     ({"kind": "edit"}, COMPOSITE), ({"kind": "upscale"}, COMPOSITE)],
)  # fmt: skip
def test_a_picture_of_each_format_says_how_it_was_made(kind, edit, source):
    parameters = DRAWN | {"edit": edit}
    assert provenance.source_of(parameters) == source
    if kind == "png":
        image = png(RGB, parameters)
        np.testing.assert_array_equal(np.asarray(image), PIXELS)
        assert images.parameters_of(image) == parameters
    else:
        image = Image.open(io.BytesIO(images.lossy(RGB, kind, 80, source, parameters)))
    assert property_of(image.info["xmp"], "DigitalSourceType") == [TYPES + source]
    assert property_of(image.info["xmp"], "AISystemUsed") == ["glide_jax shapes"]
    found = provenance.claims(image.info["xmp"])
    assert (found.source, found.pixels) == (source, images.pixels_hash(image))
    assert found.version


def test_lossy_formats_have_the_pixels_that_they_had_without_a_mark():
    clear = Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]]))
    for kind in ("jpeg", "webp"):
        bare = io.BytesIO()
        (images.flat(clear, "RGB", "white") if kind == "jpeg" else clear).save(
            bare, kind, quality=70
        )
        marked = Image.open(io.BytesIO(images.lossy(clear, kind, 70, TRAINED, None)))
        np.testing.assert_array_equal(np.asarray(marked), np.asarray(Image.open(bare)))
        assert provenance.claims(marked.info["xmp"]).pixels == images.pixels_hash(marked)


def test_a_long_record_is_not_compressed_since_readers_of_xmp_need_not_know_that():
    photo = Image.fromarray(PIXELS)
    photo.info[provenance.XMP] = PHOTO.replace("Ann", "Ann" * 5000)
    images.save_png(buffer := io.BytesIO(), photo, DRAWN)
    assert b"<rdf:li>AnnAnn" in buffer.getvalue()


def test_what_nobody_drew_is_not_marked():
    assert "xmp" not in png(RGB, {"contact_sheet_of": "emoji_64"}, NOT_DRAWN).info


def test_a_preview_is_marked_and_has_no_parameters():
    image = png(RGB, None)
    assert provenance.claims(image.info["xmp"]).source == TRAINED
    assert images.METADATA not in image.info


def test_a_photograph_s_record_stays_but_for_its_source():
    photo = Image.fromarray(PIXELS)
    photo.info[provenance.XMP] = PHOTO
    xmp = png(photo, DRAWN | {"edit": {"kind": "inpaint"}}).info["xmp"]
    assert property_of(xmp, "DigitalSourceType") == [TYPES + COMPOSITE]
    assert b"<rdf:li>Ann</rdf:li>" in xmp


@pytest.mark.parametrize(
    "form",
    ["<i:DigitalSourceType>{}</i:DigitalSourceType>", '<i:DigitalSourceType rdf:resource="{}"/>'],
)
def test_a_source_in_other_forms_is_replaced(form):
    old = PHOTO.replace(f' i:DigitalSourceType="{TYPES}digitalCapture"', "")
    old = old.replace("<dc:creator>", f"{form.format(TYPES + 'digitalCapture')}<dc:creator>")
    new = provenance.packet(COMPOSITE, DRAWN, HASH, old)
    assert property_of(new.encode(), "DigitalSourceType") == [TYPES + COMPOSITE]
    assert provenance.claims(new).source == COMPOSITE


def test_a_picture_that_is_edited_again_and_again_has_one_mark():
    first = text = provenance.packet(TRAINED, DRAWN, HASH)
    for _ in range(3):
        text = provenance.packet(COMPOSITE, DRAWN, HASH, text)
    assert text == first.replace(TRAINED, COMPOSITE)


def test_the_system_that_drew_first_keeps_its_name():
    old = provenance.packet(TRAINED, {"model": "other"}, HASH).replace(
        "urn:glide_jax:ns/", "urn:else/"
    )
    new = provenance.packet(COMPOSITE, DRAWN, HASH, old)
    assert property_of(new.encode(), "AISystemUsed") == ["glide_jax other"]


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x xmlns:rdf="r">'
    "<rdf:RDF>&b;</rdf:RDF></x>"
)


@pytest.mark.parametrize(
    "old", ["no XML", PHOTO.replace("</dc:creator>", ""), BOMB, "</rdf:RDF>", "<" * 100_000]
)
def test_a_record_that_cannot_be_read_is_replaced_with_a_warning(old):
    assert provenance.claims(old) == ("", "", "")
    with pytest.warns(UserWarning, match="XMP record cannot be read"):
        text = provenance.packet(COMPOSITE, DRAWN, HASH, old)
    assert text == provenance.packet(COMPOSITE, DRAWN, HASH)


def test_names_of_models_are_written_as_text():
    name = 'a "quoted" <name> & \0\ud800é'
    text = provenance.packet(TRAINED, {"model": name}, HASH)
    assert property_of(text.encode(), "AISystemUsed") == ['glide_jax a "quoted" <name> & ??é']


@pytest.mark.parametrize("xmp", [None, b"\xff\xfe", 7, "<a/>", b"<x>&e;</x>"])
def test_what_is_no_record_claims_nothing(xmp):
    assert provenance.claims(xmp) == ("", "", "")


def test_pictures_are_signed_by_the_process_s_signer():
    calls = []

    def sign(data: bytes, mime: str, source: str, parameters) -> bytes:
        calls.append((mime, source, parameters))
        return data + b"signed"

    provenance.sign_by(sign)
    try:
        buffer = io.BytesIO()
        images.save_png(buffer, RGB, DRAWN)
        data = [buffer.getvalue(), images.lossy(RGB, "webp", 80, COMPOSITE, None)]
        png(RGB, {}, NOT_DRAWN)
    finally:
        provenance.sign_by(None)
    assert all(each.endswith(b"signed") for each in data)
    assert calls == [("image/png", TRAINED, DRAWN), ("image/webp", COMPOSITE, {})]


def test_texts_of_a_picture_stay_beside_the_mark():
    photo = Image.fromarray(PIXELS)
    photo.info["Comment"] = "mine"
    image = png(photo, DRAWN)
    assert image.info["Comment"] == "mine"
    assert isinstance(image, PngImagePlugin.PngImageFile)
