"""From a picture of any size to what a model trains on: crop, resize, flip, degrade.

Everything takes 8-bit pixels and gives 8-bit pixels, and draws from the generator it is given, so
a picture is the same on any machine; `to_float` comes last, for whole batches.
"""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glide_jax.data.example import Rejected

CROPS = ("center", "random")
CAPTION_CHOICES = ("random", "first")

_LEAST_CROPPED = 0.8  # smallest part of the shorter side that a random crop keeps
_MOST_ENLARGED = 3  # a picture enlarged more than this teaches the model blur
_SCALES = (0.9, 1.0, 1.1)
# Captions of pictures that a mirror makes wrong.
_ONE_WAY = re.compile(
    r"left|right|east|west|clock|letter|sign|button|keycap|symbol|japanese|mark|\d|thirty|input"
    r"|calendar|abc|flag|arrow|hundred|music|dollar|yen|pound|euro|text",
    re.IGNORECASE,
)


def to_float(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Maps 0 ... 255 to float32 in [-1, 1]."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def quantize(x: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Rounds [-1, 1] to 0 ... 255, half to even and clamped: the upsampler's 8-bit grid."""
    return np.clip(np.round((x + 1.0) * 127.5), 0, 255).astype(np.uint8)


def center_crop(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Crops the largest square in the middle, at `size` x `size`: ADM's `center_crop_arr`.

    Raises:
        Rejected: "too small".
    """
    _check_size(image, size)
    scaled = _scale_to(image, size)
    top, left = (scaled.shape[0] - size) // 2, (scaled.shape[1] - size) // 2
    return scaled[top : top + size, left : left + size]


def random_crop(image: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Crops a random square of 80 to 100% of the shorter side: ADM's `random_crop_arr`.

    Args:
        image: (h, w, 3).
        size: side of the result in pixels.
        rng: decides the side and the place.

    Raises:
        Rejected: "too small".
    """
    _check_size(image, size)
    scaled = _scale_to(image, int(rng.integers(size, math.ceil(size / _LEAST_CROPPED) + 1)))
    top = int(rng.integers(scaled.shape[0] - size + 1))
    left = int(rng.integers(scaled.shape[1] - size + 1))
    return scaled[top : top + size, left : left + size]


def window(
    plane: NDArray[np.uint8],
    corner: Sequence[int] | NDArray[np.integer],
    side: int,
    picture_side: int,
) -> NDArray[np.uint8]:
    """Cuts the same window out of any of a picture's planes, whatever their size.

    Args:
        plane: square, covering the picture on a grid of its own.
        corner: the window's top and left, in the picture's pixels.
        side: the window's side, in the picture's pixels.
        picture_side: the picture's side, in its pixels.
    """
    top, left, size = (int(value) * len(plane) // picture_side for value in (*corner, side))
    return plane[top : top + size, left : left + size]


def flip(
    image: NDArray[np.uint8], probability: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Mirrors a picture at random; 0 is usual, as captions say "left" and pictures hold words.

    Args:
        image: (h, w, 3).
        probability: chance of the mirror image, in [0, 1].
        rng: decides.
    """
    return image[:, ::-1] if rng.random() < probability else image


def augment(
    image: NDArray[np.uint8], caption: str, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], str]:
    """Mirrors, moves and scales some pictures, and puts what was done before their captions.

    What a caption says of it is not learned of others, so a prompt that says nothing gives pictures
    as they are. Mirrors are left out where a caption has a side, a letter or a number.

    Args:
        image: (s, s, 3), on a background of the colour in its corner.
        caption: the caption.
        share: part of the pictures that is changed, in [0, 1]; 0 draws no random number.
        rng: decides.

    Returns:
        The picture and the caption.
    """
    if not share or rng.random() >= share:
        return image, caption
    mirrored = bool(rng.random() < 0.5) and not _ONE_WAY.search(caption)
    scale, (down, right) = float(rng.choice(_SCALES)), rng.integers(-2, 3, size=2)
    words = ["mirrored"] * mirrored + ["smaller"] * (scale < 1) + ["larger"] * (scale > 1)
    words += [f"{abs(down)} {'down' if down > 0 else 'up'}"] if down else []
    words += [f"{abs(right)} {'east' if right > 0 else 'west'}"] if right else []
    side, sign = len(image), -1.0 if mirrored else 1.0
    pixel, middle = side / 64, side / 2  # moved by up to 2 pixels of 64
    across, along = sign / scale, 1.0 / scale
    # Pillow's matrix leads from a place in the result to one in the picture.
    matrix = (
        across, 0.0, middle - across * (middle + right * pixel),
        0.0, along, middle - along * (middle + down * pixel),
    )  # fmt: skip
    moved = Image.fromarray(image).transform(
        (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC,
        fillcolor=tuple(image[0, 0].tolist()),
    )  # fmt: skip
    return np.asarray(moved), ", ".join([*words, caption])


def choose(captions: Sequence[str], choice: str, rng: np.random.Generator) -> str:
    """Chooses one of the captions.

    Args:
        captions: one or more.
        choice: "random" or "first".
        rng: decides if the choice is random.
    """
    return captions[int(rng.integers(len(captions)))] if choice == "random" else captions[0]


def low_res(
    image: NDArray[np.uint8],
    side: int,
    rng: np.random.Generator,
    *,
    blur: float = 0.0,
    noise: float = 0.0,
) -> NDArray[np.uint8]:
    """Makes an upsampler's input from a square picture: its area means, on the 8-bit grid.

    The base model's pictures are not quite like shrunk photographs. To train for that, a Gaussian
    blur and Gaussian noise may be added, their sigmas drawn uniformly from 0 to the given ones
    (conditioning augmentation: Ho et al., 2021, section 4).

    Args:
        image: its side is a multiple of `side`.
        side: the result's side in pixels.
        rng: used only for blur and noise.
        blur: largest sigma, in pixels of the result.
        noise: largest sigma, on the scale where pixels are in [-1, 1].
    """
    factor = image.shape[0] // side
    blocks = image.reshape(side, factor, side, factor, 3)
    means = blocks.mean(axis=(1, 3), dtype=np.float32)
    if blur == noise == 0:  # on the way through [-1, 1], some exact halves would become more
        return np.round(means).astype(np.uint8)
    x = means / np.float32(127.5) - np.float32(1.0)
    if blur > 0:
        x = gaussian_blur(x, blur * rng.random())
    if noise > 0:
        x = x + noise * rng.random() * rng.standard_normal(x.shape, np.float32)
    return quantize(x)


def gaussian_blur(x: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blurs (h, w, c) with a Gaussian of `sigma` pixels cut at three of them; edges reflect."""
    reach = min(math.ceil(3 * sigma), min(x.shape[:2]) - 1)
    if reach < 1 or sigma < 1e-3:
        return x
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        length = x.shape[axis]
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(x, pad, mode="reflect")
        shifts = (np.take(padded, range(k, k + length), axis) for k in range(len(weights)))
        x = sum((w * s for w, s in zip(weights, shifts, strict=True)), np.zeros_like(x))
    return x


def _check_size(image: NDArray[np.uint8], size: int) -> None:
    height, width = image.shape[:2]
    if min(height, width) * _MOST_ENLARGED < size:
        raise Rejected("too small", f"{width} x {height} pixels for {size}")


def _scale_to(image: NDArray[np.uint8], shortest: int) -> NDArray[np.uint8]:
    """Scales the shorter side to `shortest`: halvings by box, then bicubic, as ADM does.

    Bicubic alone would alias far reductions in libraries without antialiasing; Pillow has it, but
    the order is kept, since what a model learns includes how its pictures were shrunk.
    """
    height, width = image.shape[:2]
    if min(height, width) == shortest:
        return image
    picture = Image.fromarray(image)
    while min(picture.size) >= 2 * shortest:
        half = (picture.width // 2, picture.height // 2)
        picture = picture.resize(half, Image.Resampling.BOX)
    scale = shortest / min(picture.size)
    exact = (round(picture.width * scale), round(picture.height * scale))
    if exact != picture.size:
        picture = picture.resize(exact, Image.Resampling.BICUBIC)
    return np.asarray(picture)
