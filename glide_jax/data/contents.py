"""Names for the content of files that are called pictures and are none."""

import re

from PIL import Image

_BEGINNINGS = (  # what a file begins with, a few words for it, and a sentence
    (rb"version https://git-lfs", "Git LFS pointer",
     "it points to a file that was not fetched; `git lfs pull` fetches it"),
    (rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", "web page",
     "it is an HTML page, as a server answers instead of a picture"),
    (rb"(\s*<(\?xml|!doctype|!--)[^>]*>)*\s*<(\w+:)?svg\b", "SVG drawing",
     "drawings must be made pixels first"),
    (rb"\s*<\?xml", "XML text", "it is text, as a server answers instead of a picture"),
    (rb'\s*[\[{]\s*["\]}\[{]', "JSON text", "it is text, as a server answers instead of a picture"),
    (rb"%PDF-", "PDF document", "its pages must be made pictures first"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript document", "it must be made a picture first"),
    (rb"8BPS", "Photoshop document", "save it as PNG"),
    (rb"gimp xcf", "GIMP document", "save it as PNG"),
    (rb".{4}ftyp(hei[cxms]|hev[cxm]|mif1|msf1)", "HEIC picture",
     "Pillow cannot read it; save it as JPEG"),
    (rb"\xff\x0a|.{4}JXL \r\n\x87\n", "JPEG XL picture", "Pillow cannot read it; save it as PNG"),
    (rb".{4}ftyp(?!avi[fs])|\x1aE\xdf\xa3|RIFF.{4}AVI ", "video", "a picture is needed"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh\d|\xfd7zXZ|\x28\xb5\x2f\xfd", "archive",
     "it must be unpacked first"),
    (rb"PAR1", "Parquet file", "it is read as a set of its own"),
    (rb"\x00\x05\x16[\x00\x07]", "macOS resource fork", "the picture itself is another file"),
    (rb"\x00{64}", "file of zeros", "its content was lost, as when a disk is full"),
)  # fmt: skip
_AVIF = rb".{4}ftypavi[fs]"


def kind_of(data: bytes) -> tuple[str, str] | None:
    """Returns a few words for content that is no picture, and a sentence on it; None if unknown."""
    if not data:
        return "empty file", "it has no bytes"
    head = data[:4096].removeprefix(b"\xef\xbb\xbf")
    for pattern, words, sentence in _BEGINNINGS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return words, sentence
    if re.match(_AVIF, head, re.DOTALL) and "AVIF" not in Image.OPEN:
        return "AVIF picture", "this Pillow cannot read it; a newer one can"
    return None
