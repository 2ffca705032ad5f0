"""Pictures as pixels and files: [-1, 1] to 8 bits, PNG with metadata, contact sheets."""

import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps, PngImagePlugin, UnidentifiedImageError

from glide_jax.errors import InputError
from glide_jax.files import replacing

METADATA = "glide_jax"  # the PNG text chunk that holds the parameters, as JSON


def to_uint8(x: np.ndarray) -> np.ndarray:
    """[-1, 1] to 0 ... 255, rounded half to even and clamped, as the reference shows pictures."""
    return np.clip(np.round((np.asarray(x, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def from_uint8(pixels: np.ndarray) -> np.ndarray:
    """0 ... 255 to float32 in [-1, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(127.5) - np.float32(1.0)


def read(path: str | os.PathLike) -> Image.Image:
    """A picture from a file.

    Raises:
        InputError: there is no such file, or it is not a picture.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise InputError(f"picture {str(path)!r} does not exist.") from None
    except UnidentifiedImageError:
        raise InputError(f"{str(path)!r} is not a picture that Pillow knows.") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"picture {str(path)!r} is too large: {error}") from None
    except Exception as error:  # a broken file leads Pillow to whatever comes
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"picture {str(path)!r} cannot be read: {why.rstrip('.')}.") from None


def write_png(path: pathlib.Path, image: Image.Image, parameters: Mapping[str, Any]) -> None:
    """A PNG that carries its parameters; whole or not at all."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt(METADATA, json.dumps(parameters, ensure_ascii=False, sort_keys=True))
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=info)


def read_parameters(path: str | os.PathLike) -> dict[str, Any] | None:
    """The parameters of a picture of ours; None of anything else, also of no file."""
    try:
        with Image.open(path) as image:
            return json.loads(image.info.get(METADATA, "null"))
    except (OSError, SyntaxError, ValueError):
        return None


def prepare_inpainting(
    image: Image.Image, mask: Image.Image, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """What is known of a picture whose mask's white is to be painted anew.

    Args:
        image: square; resized with antialiased bicubic, as the released notebook does.
        mask: as large; grey of 128 and more counts as white.
        size: pixels a side wanted.

    Returns:
        The picture (size, size, 3) in [-1, 1] and (size, size, 1), 1 where it is known.

    Raises:
        InputError: the two differ in size, are not square, or nothing is to be painted.
    """
    image, mask = ImageOps.exif_transpose(image), ImageOps.exif_transpose(mask)
    if image.size != mask.size:
        raise InputError(
            f"the picture is {_times(image.size)} and the mask {_times(mask.size)}; "
            "they must be equally large."
        )
    if image.width != image.height:
        raise InputError(f"the picture is {_times(image.size)}; it must be square.")
    pixels = _flat(image, "RGB", "white").resize((size, size), Image.Resampling.BICUBIC)
    white = _flat(mask, "L", "black").resize((size, size), Image.Resampling.NEAREST)
    paint = np.asarray(white) >= 128
    if not paint.any():
        raise InputError(f"the mask has no white at {size} x {size} pixels: nothing to paint.")
    return from_uint8(np.asarray(pixels)), (~paint)[..., None].astype(np.float32)


def _flat(image: Image.Image, mode: str, ground: str) -> Image.Image:
    """Any picture in an 8-bit mode: 16 bits scaled, transparency laid over `ground`."""
    if image.mode.startswith("I"):  # Pillow would clip them, not scale
        image = Image.fromarray(
            (np.asarray(image, np.int64).clip(0, 65535) // 257).astype(np.uint8)
        )
    try:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, ground), image)
        if image.mode == "F":
            raise ValueError("its pixels are fractions")
        return image.convert(mode)
    except ValueError as error:
        raise InputError(
            f"a picture of mode {image.mode!r} cannot be used ({error}); save it as RGB."
        ) from None


def check_planes(known: np.ndarray | None, mask_known: np.ndarray | None, size: int) -> None:
    """Refuses what is not a picture (size, size, 3) in [-1, 1] with its mask (size, size, 1).

    Raises:
        InputError: one is missing, or has another shape or range.
    """
    for name, plane, channels in (("known", known, 3), ("mask_known", mask_known, 1)):
        wanted, shape = (size, size, channels), getattr(plane, "shape", None)
        if shape != wanted:
            raise InputError(f"{name} has the shape {shape}; it must be {wanted}.")
        if not (np.abs(np.asarray(plane, np.float32)) <= 1.0).all():
            raise InputError(f"{name} has values outside [-1, 1].")


def shrink_known(
    known: np.ndarray, mask_known: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both at a smaller stage's size: pixels by area; known only where every pixel was."""
    factor = known.shape[0] // size
    blocks = lambda a: a.reshape(size, factor, size, factor, -1)
    return blocks(known).mean(axis=(1, 3)), blocks(mask_known).min(axis=(1, 3))


def contact_sheet(
    images: Sequence[Image.Image], captions: Sequence[str], *, side: int = 192
) -> Image.Image:
    """Pictures in a grid, each over its caption, scaled to `side` pixels."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    gap, text = 8, 28
    sheet = Image.new(
        "RGB", (columns * (side + gap) + gap, rows * (side + gap + text) + gap), "white"
    )
    draw = ImageDraw.Draw(sheet)
    for k, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = gap + k % columns * (side + gap), gap + k // columns * (side + gap + text)
        # Pixels of a small picture stay visible as what they are.
        sampling = Image.Resampling.NEAREST if image.width < side else Image.Resampling.LANCZOS
        sheet.paste(image.resize((side, side), sampling), (x, y))
        for line, part in enumerate(_wrap(caption, side // 6)):
            draw.text((x, y + side + 1 + 13 * line), part, fill="black")
    return sheet


def _wrap(caption: str, width: int) -> list[str]:
    # Pillow's own font has Latin letters only; others would be drawn as boxes or fail.
    words = caption.encode("latin-1", "replace").decode("latin-1").split()
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) >= width and lines[-1]:
            lines.append("")
        lines[-1] += f"{word} "
    if len(lines) > 2:
        lines[1] = lines[1][: width - 3].rstrip() + "..."
    return [line[:width] for line in lines[:2]]


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
