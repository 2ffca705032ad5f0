"""The examples that sources give, and the one way from an image's bytes to pixels."""

import io
import os
import stat
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from glide_jax import checks, colours, images
from glide_jax.data import contents

MOST_PIXELS = 1 << 26  # 8192 x 8192: larger is a mistake or an attack, and takes a worker's memory
MOST_BYTES = 5 << 26  # most of an encoded picture: so many pixels uncompressed, and metadata
MOST_TEXT = 1 << 20  # bytes of a record's captions
_LONGEST_DETAIL = 300  # characters

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")


class Example(NamedTuple):
    """A picture and its captions."""

    image: NDArray[np.uint8]  # (h, w, 3), any size
    captions: tuple[str, ...]  # one or more, none blank
    name: str  # for messages: a file, or a file and a key in it


class Rejected(Exception):
    """A record is not usable; it is counted under `reason` and another takes its place.

    Args:
        reason: a few words that many records may share, e.g. "corrupt image".
        detail: what is particular to this one.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)  # both, or it would not survive being pickled
        self.reason = reason
        self.detail = checks.printable(detail, _LONGEST_DETAIL)

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@runtime_checkable
class Source(Protocol):
    """A random-access set of examples that worker processes can open.

    It can be pickled, costs little to open, and opens its files when they are first read, in
    each process for itself. `source[i]` raises `Rejected` for a record that cannot be used.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


def decode(data: bytes | str | os.PathLike | io.IOBase, name: str = "") -> NDArray[np.uint8]:
    """Returns an encoded picture's pixels (h, w, 3), upright, with transparency laid over white.

    Colours in a profile are converted to sRGB. An animation gives its first frame. A mode that has
    no single right way to 8-bit RGB (CMYK without a profile, 16 bits a channel, fractions) is
    refused rather than guessed at.

    Raises:
        Rejected: "corrupt image", "foreign mode", "too large", or "unreadable file" of a path;
            content that is known to be something else is named, such as "web page".
    """
    if isinstance(data, str | os.PathLike):
        data = read_bytes(data, name, MOST_BYTES)
    encoded: bytes = data if isinstance(data, bytes) else data.read()
    if len(encoded) > MOST_BYTES:
        raise Rejected("too large", _join(name, f"{len(encoded):,} bytes"))
    try:
        return _decode(encoded)
    except Rejected as rejected:
        raise Rejected(rejected.reason, _join(name, rejected.detail)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Rejected("too large", _join(name, str(error))) from None
    except Exception as error:  # a broken file makes Pillow raise anything
        if found := contents.kind_of(encoded):
            reason, why = found
        else:
            reason, why = "corrupt image", str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError) and not found:
            begin = checks.shown(encoded[:12])
            why = f"it is damaged or in no picture format that is known; it begins with {begin}"
        raise Rejected(reason, _join(name, why)) from None


def read_bytes(path: str | os.PathLike, name: str, most: int) -> bytes:
    """Returns the content of a file; a pipe or a device, which may have no end, is not opened.

    Args:
        path: the file.
        name: for messages.
        most: bytes it may have.

    Raises:
        Rejected: "unreadable file" or "too large".
    """
    try:
        there = os.stat(path)
        if not stat.S_ISREG(there.st_mode):
            raise Rejected("unreadable file", _join(name, "it is a folder, a pipe or a device"))
        if there.st_size > most:
            raise Rejected("too large", _join(name, f"{there.st_size:,} bytes; at most {most:,}"))
        with open(path, "rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:  # the latter of a name that no file can have
        why = getattr(error, "strerror", None) or str(error)
        raise Rejected("unreadable file", _join(name, why)) from None


def captions_of(texts: str | Iterable[Any] | None, name: str = "") -> tuple[str, ...]:
    """Returns the usable captions among `texts`: stripped, not blank, and valid in UTF-8.

    Raises:
        Rejected: "no caption": none is left.
    """
    if texts is None or isinstance(texts, str):
        texts = () if texts is None else (texts,)
    kept = tuple(text.strip() for text in texts if isinstance(text, str) and _is_text(text))
    if not kept:
        raise Rejected("no caption", name)
    return kept


def spread(count: int, most: int) -> list[int]:
    """Returns up to `most` of the numbers below `count`, at even distances."""
    return [k * count // most for k in range(most)] if count > most else list(range(count))


def _decode(data: bytes) -> NDArray[np.uint8]:
    with images.open_encoded(io.BytesIO(data)) as opened:
        image: Image.Image = opened
        if image.width * image.height > MOST_PIXELS:
            raise Rejected("too large", f"{image.width} x {image.height} pixels")
        inks = image.mode == "CMYK" and colours.profile_of(image.info, "CMYK") is not None
        if image.mode not in _MODES and not inks:
            raise Rejected("foreign mode", f"mode {image.mode}")
        return np.array(colours.own(image).upright)  # a copy, which the caller may write to


def _is_text(text: str) -> bool:
    return bool(text.strip()) and not any("\ud800" <= c <= "\udfff" for c in text)


def _join(name: str, detail: str) -> str:
    return f"{name}: {detail}" if name and detail else name or detail
