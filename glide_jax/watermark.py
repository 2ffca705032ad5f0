"""An invisible mark in a picture's brightness, which is left when a program drops the records.

A mark is 64 bits: a tag that names the model, salt, and a check of both. Each bit moves one of the
picture's cosine coefficients of low frequency to the nearest point of the bit's own lattice, so the
picture itself is no noise to the reader (Chen and Wornell, 2001, "Quantization index modulation",
section IV). The salt is the one that changes the picture least. Coefficients are counted over the
whole picture, so a mark is read at any size, and is lost when the picture is cropped or turned.
"""

import functools
import hashlib
import io
import itertools
import math
import warnings
import zlib
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from PIL import Image

BITS, TAG_BITS, SALT_BITS = 64, 20, 12  # the whole mark, its tag, and its salt; the rest checks
SMALLEST = 32  # pixels of the shorter side of a picture that can be marked

# Every mark that was ever written is read by these five.
_STEP = 13.0  # between two points of a lattice, in levels, see `_coefficients`
_LOWEST = 4.5  # the lowest radius of a frequency, in half waves across the picture
_UNIT = 16.0  # the root of the mean square of a coefficient's wave is 1 / _UNIT of the coefficient
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # the shares of R, G and B, as in JPEG
_SEED = b"glide_jax"  # before what is checked

_PER_LUMA = _LUMA / np.sum(_LUMA**2)  # the least change of the three that adds one level of it
_GUESSES = 8  # bits that the reader may take for misread: 2^8 words, of 2^32 checks
_ITERATIONS = 6  # to put coefficients where they should be although levels end at 0 and 255
_COARSE = 128  # pixels; what JPEG does to smaller pictures is foreseen
_FORESEEN = 0.2  # how far a coefficient is moved against what JPEG will do, in steps
_ENOUGH = 0.1  # an error that is not foreseen, in steps
_READ_AT = 512  # pixels; larger pictures are read at a fraction of their size
_MOST = 20  # half waves across the picture, more than the highest frequency has

_FREQUENCIES = np.array(
    sorted(
        (
            pair
            for pair in itertools.product(range(_MOST), repeat=2)
            if math.hypot(*pair) >= _LOWEST
        ),
        key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair),
    )[:BITS]
)
_ROWS, _COLUMNS = _FREQUENCIES.T
_WAVES = int(_FREQUENCIES.max()) + 1
_BAYER = (
    np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) + 0.5
) / 16

Levels = Float[np.ndarray, "h w 3"]
Split = tuple[Levels, UInt8[np.ndarray, "h w"] | None]
Coefficients = Float[np.ndarray, "64"]
Bits = Int[np.ndarray, "64"]


def tag(model: str) -> int:
    """The tag of a model's name, 0 ... 2^20 - 1; different names may share one."""
    return int.from_bytes(hashlib.sha256(model.encode()).digest()[:4], "big") >> (32 - TAG_BITS)


def marked(image: Image.Image, number: int) -> Image.Image:
    """The picture with a mark, in RGB or RGBA; its `info` is kept.

    A picture that has the mark already stays as it is. In what is transparent no mark is seen, so
    a picture that is so for a large part may lose it.

    Args:
        image: the picture; one side shorter than `SMALLEST` is too small, and warned of.
        number: the tag.
    """
    if min(image.size) < SMALLEST:
        warnings.warn(
            f"a picture of {image.width} x {image.height} pixels is too small for an invisible "
            f"mark, which needs {SMALLEST}; it is written without one.",
            stacklevel=2,
        )
        return image
    plain, alpha = _split(image)
    before = _coefficients(_seen(plain, alpha))
    goal = _nearest(before, _least_change(before, number))
    if np.abs(before - goal).max() < _ENOUGH * _STEP:
        return image
    drawn, moved = _moved(plain, alpha, goal), np.zeros(BITS, np.float32)
    for _ in range(3 if max(image.size) <= _COARSE else 0):
        off = _coefficients(_by_jpeg(drawn, alpha)) - goal
        if np.abs(off).max() < _ENOUGH * _STEP:
            break
        moved -= np.sign(off) * np.maximum(np.abs(off) - _ENOUGH * _STEP, 0)
        moved = np.clip(moved, -_FORESEEN * _STEP, _FORESEEN * _STEP)
        drawn = _moved(plain, alpha, goal + moved)
    planes = drawn if alpha is None else np.dstack([drawn, alpha])
    out = Image.fromarray(planes)
    out.info = dict(image.info)
    return out


def read(image: Image.Image) -> int | None:
    """The tag of a picture's mark; None if it has none that can be read.

    A picture without a mark is taken for a marked one once in 2^24: 2^8 words are tried, and one
    word of 2^32 passes the check.
    """
    if min(image.size) < _WAVES:
        return None
    if (by := max(image.size) // _READ_AT) > 1 and min(image.size) // by >= 2 * _WAVES:
        image = (image if image.mode in ("RGB", "RGBA") else image.convert("RGBA")).reduce(by)
    waves = _sines(image)
    heard = int("".join("1" if wave > 0 else "0" for wave in waves), 2)
    doubtful = [1 << (BITS - 1 - int(i)) for i in np.argsort(np.abs(waves))[:_GUESSES]]
    for n in range(_GUESSES + 1):
        for misread in itertools.combinations(doubtful, n):
            word = heard ^ sum(misread)
            if word == _word(word >> 32):
                return word >> (BITS - TAG_BITS)
    return None


def bits_heard(image: Image.Image) -> Bits:
    """The 64 bits, 0 or 1, that are read first, whether a picture has a mark or not."""
    return (_sines(image) > 0).astype(np.int8)


def _sines(image: Image.Image) -> Coefficients:
    """How much each bit is 1: from 1 on its lattice to -1 on that of 0."""
    return np.sin(2 * np.pi / _STEP * _coefficients(_seen(*_split(image))))


def _word(head: int) -> int:
    """The 64 bits whose first 32, tag and salt, are these."""
    data = head.to_bytes(4, "big")
    return head << 32 | zlib.crc32(_SEED + data)


def _bits(word: int) -> Bits:
    return np.array([word >> i & 1 for i in reversed(range(BITS))], np.int8)


@functools.cache
def _salts() -> Float[np.ndarray, "4096 64"]:
    """The bits that each salt turns over; a CRC is linear, so they are the same for every tag."""
    turned = [_bits(_word(salt) ^ _word(0)) for salt in range(1 << SALT_BITS)]
    return np.array(turned, np.float32)


def _least_change(before: Coefficients, number: int) -> Bits:
    """The bits of a tag with the salt for which coefficients move least."""
    unsalted = _word(number << SALT_BITS)
    bits = _bits(unsalted)
    kept, turned = ((before - _nearest(before, b)) ** 2 for b in (bits, 1 - bits))
    salt = int(np.argmin(_salts() @ (turned - kept)))
    return _bits(unsalted ^ _word(salt) ^ _word(0))


def _nearest(coefficients: Coefficients, bits: Bits) -> Coefficients:
    """The points of the bits' lattices that are nearest."""
    first = (bits - 0.5) * (_STEP / 2)
    return first + _STEP * np.round((coefficients - first) / _STEP)


@functools.lru_cache(maxsize=16)
def _basis(n: int) -> Float[np.ndarray, "waves n"]:
    """The lowest cosines of n pixels, orthonormal (DCT-II)."""
    waves = np.cos(np.pi * np.arange(_WAVES)[:, None] * (np.arange(n) + 0.5) / n)
    scale = np.sqrt(np.where(np.arange(_WAVES)[:, None], 2, 1) / n)
    return (waves * scale).astype(np.float32)


def _coefficients(levels: Levels) -> Coefficients:
    """Those of the brightness that carry bits, in units that do not depend on the size."""
    luma = levels @ _LUMA
    h, w = luma.shape
    return (_basis(h) @ luma @ _basis(w).T)[_ROWS, _COLUMNS] * np.float32(_UNIT / np.sqrt(h * w))


def _waves(coefficients: Coefficients, h: int, w: int) -> Float[np.ndarray, "h w"]:
    """The brightness that has these coefficients, and no others."""
    plane = np.zeros((_WAVES, _WAVES), np.float32)
    plane[_ROWS, _COLUMNS] = coefficients
    return _basis(h).T @ plane @ _basis(w) * np.float32(np.sqrt(h * w) / _UNIT)


def _moved(
    levels: Levels, alpha: NDArray[Any] | None, goal: Coefficients
) -> UInt8[np.ndarray, "h w 3"]:
    """The levels nearest to those given, among all whose coefficients are as wanted."""
    h, w = levels.shape[:2]
    out, pushed = levels, np.zeros(BITS, np.float32)
    for k in range(_ITERATIONS):
        rest = goal - _coefficients(_seen(out, alpha))
        if np.abs(rest).max() < 0.01 * _STEP:
            break
        pushed += (1.6 if k else 1.0) * rest  # over-relaxed: where levels end, half is lost
        # A level of green is brighter than one of blue, so it takes the larger part of a change.
        out = np.clip(levels + _waves(pushed, h, w)[..., None] * _PER_LUMA, 0, 255)
    threshold = np.tile(_BAYER, (-(-h // 4), -(-w // 4)))[:h, :w, None]  # keeps slow waves in bytes
    return np.clip(np.floor(out + threshold), 0, 255).astype(np.uint8)


def _split(image: Image.Image) -> Split:
    """Levels, and what of them is seen; None where all is."""
    if image.mode != "RGB" and image.has_transparency_data:
        planes = np.asarray(image.convert("RGBA"))
        return planes[..., :3].astype(np.float32), planes[..., 3]
    return np.asarray(image.convert("RGB"), np.float32), None


def _seen(levels: Levels, alpha: NDArray[Any] | None) -> Levels:
    """The levels that are seen before white."""
    if alpha is None:
        return levels
    share = alpha[..., None] / np.float32(255)
    return levels * share + 255 * (1 - share)


def _by_jpeg(levels: NDArray[np.uint8], alpha: NDArray[Any] | None) -> Levels:
    """The levels as a JPEG of Pillow's quality gives them back, before white."""
    seen = np.round(_seen(levels.astype(np.float32), alpha)).astype(np.uint8)
    Image.fromarray(seen).save(buffer := io.BytesIO(), "JPEG", quality=75)
    with Image.open(buffer) as decoded:
        return np.asarray(decoded.convert("RGB"), np.float32)
