"""The mark by which a picture says to machines that a model drew it: XMP with IPTC's properties.

Source: IPTC Photo Metadata Standard 2025.1, "Digital Source Type" and "AI System Used", and its
vocabulary at http://cv.iptc.org/newscodes/digitalsourcetype/.
"""

import html
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree

from PIL import Image

from glide_jax import watermark
from glide_jax.version import __version__

TRAINED = "trainedAlgorithmicMedia"  # a model drew all of it
COMPOSITE = "compositeWithTrainedAlgorithmicMedia"  # a picture of somebody's went in
NOT_DRAWN = ""  # such as a sheet of a data set
UNKNOWN_PIXELS = "pixels".ljust(64, "-")  # a hash of this length takes its place
XMP = "XML:com.adobe.xmp"  # the keyword of XMP among the texts of a PNG

COMMENT = f"Digital source type: {TRAINED}. Drawn by glide_jax."  # for a GIF, which has no XMP

TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OURS = "urn:glide_jax:ns/"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta>\n'
    '<?xpacket end="w"?>'
)
_END = re.compile(r"</rdf:RDF\s*>")
_EARLIER = (  # what a new mark replaces: our own, and the property in both of its forms
    re.compile(rf"<rdf:Description\s[^<>]*\"{re.escape(_OURS)}\"[^<>]*/>"),
    re.compile(r"<([\w.-]+:DigitalSourceType)(?:\s[^<>]*)?(?:/>|>[^<>]*</\1\s*>)"),
    re.compile(r"""\s[\w.-]+:DigitalSourceType\s*=\s*(?:"[^"]*"|'[^']*')"""),
)

# Signs the bytes of a file: (bytes, MIME type, source, parameters) -> bytes. None signs nothing.
Signer = Callable[[bytes, str, str, Mapping[str, Any]], bytes]
_signer: Signer | None = None
_marks_pixels = False


class Claims(NamedTuple):
    """The claims of a picture's XMP about where it comes from; "" is no such claim."""

    source: str  # the last part of the digital source type's address
    version: str  # the version of this package that wrote the picture
    pixels: str  # the SHA-256 of its pixels, by `images.pixels_hash`, when it was written


def sign_by(signer: Signer | None) -> None:
    """Lets every picture that this process writes from now on be signed, or none."""
    global _signer
    _signer = signer


def mark_pixels(wanted: bool) -> None:
    """Lets every picture that this process writes from now on have an invisible mark, or none."""
    global _marks_pixels
    _marks_pixels = wanted


def marked(image: Image.Image, source: str, parameters: Any) -> Image.Image:
    """A picture with an invisible mark, if `mark_pixels` wants that.

    Args:
        image: the picture; its `info` is kept.
        source: see `source_of`; pictures that nobody drew are not marked.
        parameters: those of a finished picture, which name the model that drew it.
    """
    return with_mark(image, parameters) if _marks_pixels and source else image


def with_mark(image: Image.Image, parameters: Any) -> Image.Image:
    """A picture with an invisible mark of the model that its parameters name."""
    return watermark.marked(image, watermark.tag(_model(parameters)))


def signs() -> bool:
    """Whether pictures are signed."""
    return _signer is not None


def marks() -> bool:
    """Whether pictures get an invisible mark."""
    return _marks_pixels


def signed(data: bytes, mime: str, source: str, parameters: Mapping[str, Any] | None) -> bytes:
    """A file's bytes, signed if `sign_by` has given a signer.

    Args:
        data: the file.
        mime: its type, such as "image/png".
        source: see `source_of`; pictures that nobody drew are not signed.
        parameters: those of a finished picture; previews have none.
    """
    return _signer(data, mime, source, parameters or {}) if _signer and source else data


def source_of(parameters: Any) -> str:
    """The digital source type of a picture with these parameters: `TRAINED` or `COMPOSITE`."""
    edit = parameters.get("edit") if isinstance(parameters, Mapping) else None
    kind = edit.get("kind", "interpolate") if isinstance(edit, Mapping) else "interpolate"
    return TRAINED if kind == "interpolate" else COMPOSITE  # the former is between two prompts


def packet(source: str, parameters: Any, pixels: str, old: str | None = None) -> str:
    """An XMP packet with the mark.

    Args:
        source: `TRAINED` or `COMPOSITE`.
        parameters: those of a finished picture, which name the model that drew it.
        pixels: the SHA-256 of the pixels.
        old: the packet that the picture has; it is kept but for its own digital source type.
    """
    kept = old or _EMPTY
    for earlier in _EARLIER:
        kept = earlier.sub("", kept)
    values = {
        "xmlns:Iptc4xmpExt": _IPTC,
        "xmlns:glide_jax": _OURS,
        "Iptc4xmpExt:DigitalSourceType": TYPES + source,
        "glide_jax:version": __version__,
        "glide_jax:pixels": pixels,
    }
    if "AISystemUsed" not in kept:  # a property has one value: that of the first system
        values["Iptc4xmpExt:AISystemUsed"] = f"glide_jax {_model(parameters)}".rstrip()
        values["Iptc4xmpExt:AISystemVersionUsed"] = __version__
    mark = " ".join(f'{name}="{html.escape(_xml(value))}"' for name, value in values.items())
    ends = [*_END.finditer(kept)]
    at = ends[-1].start() if ends else 0
    whole = f'{kept[:at]}<rdf:Description rdf:about="" {mark}/>{kept[at:]}'
    if old is None or (ends and _parsed(whole) is not None):
        return whole
    warnings.warn(
        "a picture's XMP record cannot be read; one takes its place that says what drew the "
        "picture.",
        stacklevel=3,
    )
    return packet(source, parameters, pixels)


def claims(xmp: object) -> Claims:
    """The claims of an XMP packet, as Pillow gives it; none if it cannot be read."""
    text = xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else xmp
    root = _parsed(text) if isinstance(text, str) else None
    found: dict[str, str] = {}
    for element in root.iter() if root is not None else ():
        found |= {name: value for name, value in element.attrib.items() if value}
        if element.text and element.text.strip():
            found[element.tag] = element.text.strip()
    source = found.get(f"{{{_IPTC}}}DigitalSourceType", "").rstrip("/").rpartition("/")[2]
    return Claims(source, *(found.get(f"{{{_OURS}}}{name}", "") for name in ("version", "pixels")))


def _model(parameters: Any) -> str:
    """The name of the model that drew a picture; "" where that is not told."""
    return str(parameters.get("model", "")) if isinstance(parameters, Mapping) else ""


def _parsed(text: str) -> ElementTree.Element | None:
    """The root of a packet; None if it is not one, or declares entities, which may be endless."""
    if "<!" in re.sub(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>", "", text, flags=re.DOTALL):
        return None
    try:
        return ElementTree.fromstring(text.strip("\0\ufeff \t\r\n"))
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None


def _xml(text: str) -> str:
    """A text without the characters that XML 1.0 cannot hold."""
    return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)
