"""The examples that sources give, and the one way from an image's bytes to pixels."""

import io
import os
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glide_jax import colours, images

MOST_PIXELS = 1 << 26  # 8192 x 8192: larger is a mistake or an attack, and takes a worker's memory

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
        self.detail = detail

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
        Rejected: "corrupt image", "foreign mode", "too large", or "unreadable file" of a path.
    """
    if isinstance(data, str | os.PathLike):
        try:
            with open(data, "rb") as file:
                data = file.read()
        except OSError as error:
            raise Rejected("unreadable file", _join(name, error.strerror or str(error))) from None
    try:
        return _decode(data if isinstance(data, bytes) else data.read())
    except Rejected as rejected:
        raise Rejected(rejected.reason, _join(name, rejected.detail)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Rejected("too large", _join(name, str(error))) from None
    except Exception as error:  # a broken file makes Pillow raise anything
        raise Rejected("corrupt image", _join(name, str(error) or type(error).__name__)) from None


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
