"""Parts of pictures: cut out around a mask at a model's size, put back without a seam."""

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glide_jax import colours, images, provenance
from glide_jax.errors import InputError
from glide_jax.sampling import strokes

CONTEXT = 1.5  # a window's side by the longer side of what is painted in it
_SWEEPS = 24  # relaxation sweeps at each scale


class Window(NamedTuple):
    """A square of a picture; it may reach beyond the picture's edges."""

    left: int
    top: int
    side: int


class Region(NamedTuple):
    """The part of a picture that a model is shown, and where its answer belongs."""

    own: colours.Own
    pixels: NDArray[np.uint8]  # (h, w, 3), the whole picture over white in its own colours
    alpha: NDArray[np.float32]  # (h, w), 0 where it is kept, 1 where it is painted, soft between
    window: Window
    shown: NDArray[np.float32]  # (size, size, 3) in [-1, 1]
    mask_known: NDArray[np.float32]  # (size, size, 1), 1 where nothing is painted


def region(
    image: Image.Image,
    mask: Image.Image | strokes.Mask,
    size: int,
    margin: float | None = None,
) -> Region:
    """The window of a picture in which a model of `size` pixels a side paints a mask's white.

    Args:
        image: a picture of any size.
        mask: a picture as large; white is painted.
        size: pixels a side of the model.
        margin: see `window_around`.

    Raises:
        InputError: picture and mask differ in size, or the mask has no white.
    """
    own = colours.own(image)
    alpha = _shares(own.image, mask)
    if not alpha.any():
        raise InputError(f"the mask has no white: nothing to paint; {strokes.ADVICE}")
    window = window_around(alpha > 0, size, margin)
    shown = Image.fromarray(cut(np.asarray(own.upright), window)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    # What lies beyond the picture is painted too, and then thrown away.
    painted = cut(np.pad(alpha > 0, 1, constant_values=True), window, border=1).astype(np.float32)
    painted = Image.fromarray(painted).resize((size, size), Image.Resampling.BOX)
    mask_known = (np.asarray(painted) == 0)[..., None].astype(np.float32)
    pixels, shown = np.asarray(own.over_white), images.from_uint8(np.asarray(shown))
    return Region(own, pixels, alpha, window, shown, mask_known)


def _shares(own: Image.Image, mask: Image.Image | strokes.Mask) -> NDArray[np.float32]:
    """A mask as (h, w), 1 where a picture is painted.

    Raises:
        InputError: it is not as large as the picture.
    """
    shares = strokes.read(mask, own).shares
    if own.size == shares.shape[::-1]:
        return shares
    turned = " when both are upright, as their cameras held them" * (own.size == shares.shape)
    raise InputError(
        f"the picture is {own.width} x {own.height} and the mask {shares.shape[1]} x "
        f"{shares.shape[0]}; they must be equally large{turned}."
    )


def window_around(paint: NDArray[np.bool_], size: int, margin: float | None = None) -> Window:
    """The square to paint in: all that is painted, with context, and at least `size` a side.

    With a margin it may be smaller than `size`: a small hole is then drawn enlarged.

    It stays within the picture where it can; where what is painted is longer than the picture's
    shorter side, it reaches over both of those edges alike.

    Args:
        paint: (h, w), whether a pixel is painted.
        size: pixels a side of the model; nothing smaller is cut where there is no margin.
        margin: context on each side in parts of the longer side of what is painted, from 0.
    """
    height, width = paint.shape
    rows, columns = (np.flatnonzero(paint.any(axis)) for axis in (1, 0))
    spans = [(int(line[0]), int(line[-1]) + 1) for line in (columns, rows)]
    long = max(end - start for start, end in spans)
    side = max(size, round(CONTEXT * long)) if margin is None else round((1 + 2 * margin) * long)
    side = min(side, max(min(height, width), long))

    def place(span: tuple[int, int], whole: int) -> int:
        if side >= whole:
            return (whole - side) // 2
        return min(max((span[0] + span[1] - side) // 2, 0), whole - side)

    return Window(place(spans[0], width), place(spans[1], height), side)


def cut(pixels: NDArray[Any], window: Window, border: int = 0) -> NDArray[Any]:
    """The window's pixels; beyond the picture its edge goes on.

    Args:
        pixels: (h, w, ...).
        window: the square to cut.
        border: pixels that surround the picture on each side of the array.
    """
    take = lambda start, whole: np.clip(
        np.arange(start, start + window.side) + border, 0, whole - 1
    )
    rows, columns = take(window.top, pixels.shape[0]), take(window.left, pixels.shape[1])
    return pixels[np.ix_(rows, columns)]


def paste(part: Region, drawn: Image.Image) -> Image.Image:
    """The picture with what was drawn; pixels where the mask is black are the picture's own.

    They are in its own colours, and what is painted becomes opaque.

    Scaling the window to a model's size and back, or the model itself, may leave a difference to
    the picture around the mask. It is spread smoothly into the mask and taken off, so that the
    join shows no jump (Pérez et al., 2003, eq. 7: a seamless clone is the source plus a membrane).
    """
    side, window = part.window.side, part.window
    scaled = drawn.resize((side, side), Image.Resampling.BICUBIC)
    new = np.asarray(colours.from_srgb(scaled, part.own.profile), np.float32)
    top, left = max(window.top, 0), max(window.left, 0)
    bottom = min(window.top + side, part.pixels.shape[0])
    right = min(window.left + side, part.pixels.shape[1])
    inner = (
        slice(top - window.top, bottom - window.top),
        slice(left - window.left, right - window.left),
    )
    there = slice(top, bottom), slice(left, right)
    old, new, alpha = (
        part.pixels[there].astype(np.float32),
        new[inner],
        part.alpha[there][..., None],
    )
    kept = alpha[..., 0] == 0
    if kept.any():
        new = new + membrane(np.where(kept[..., None], old - new, 0.0), kept)
    out = np.array(part.own.image)
    if out.shape[-1] == 4:  # "over", with the drawn above the picture (Porter and Duff, 1984)
        old, clear = out[there][..., :3].astype(np.float32), out[there][..., 3:] / np.float32(255)
        whole = clear + alpha * (1 - clear)
        alpha = alpha / np.where(whole > 0, whole, 1)
        opaque = np.rint(255 * whole)
        new = np.concatenate([new, opaque], -1)
        old = np.concatenate([old, opaque], -1)
    blended = np.clip(np.rint(old + alpha * (new - old)), 0, 255).astype(np.uint8)
    out[there] = np.where(kept[..., None], out[there], blended)
    image = Image.fromarray(out)
    image.info = dict(part.own.image.info)
    return image


def membrane(values: NDArray[np.float32], fixed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The smoothest continuation of `values` (h, w, c) from where they are fixed to the rest.

    It solves Laplace's equation coarse to fine, so a wide gap costs no more than a narrow one.
    """
    height, width = fixed.shape
    if fixed.all() or not fixed.any():
        return values
    out = values
    if min(height, width) > 2:
        pad = ((0, height % 2), (0, width % 2))
        weight = np.pad(fixed, pad).astype(np.float32)[..., None]
        quarters = lambda a: a.reshape(len(a) // 2, 2, a.shape[1] // 2, 2, -1).sum((1, 3))
        count = quarters(weight)
        coarse = quarters(np.pad(values, (*pad, (0, 0))) * weight) / np.maximum(count, 1.0)
        smooth = membrane(coarse, count[..., 0] > 0).repeat(2, 0).repeat(2, 1)
        out = np.where(fixed[..., None], values, smooth[:height, :width])
    for _ in range(_SWEEPS):
        p = np.pad(out, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = 0.25 * (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:])
        out = np.where(fixed[..., None], values, mean)
    return out


def extended(
    image: Image.Image, mask: Image.Image | strokes.Mask | None, sides: tuple[int, int, int, int]
) -> tuple[Image.Image, Image.Image]:
    """A picture on a larger canvas, and the mask of what is new there (outpainting).

    Args:
        image: goes on in its edge pixels, which the model does not see.
        mask: more to paint, as large as the picture.
        sides: pixels to add at the left, top, right and bottom.
    """
    own = colours.own(image).image
    alpha = np.zeros(own.size[::-1], np.float32) if mask is None else _shares(own, mask)
    left, top, right, bottom = sides
    pad = ((top, bottom), (left, right))
    white = np.pad(np.rint(alpha * 255).astype(np.uint8), pad, constant_values=255)
    larger = Image.fromarray(np.pad(np.asarray(own), (*pad, (0, 0)), mode="edge"))
    larger.info = own.info
    return larger, Image.fromarray(white)


def fitted(image: Image.Image, side: int, unit: int, most_aspect: int = 4) -> Image.Image:
    """A picture whose shorter side is `side` and whose longer one the nearest multiple of `unit`.

    Args:
        image: a picture of any size.
        side: pixels of the shorter side.
        unit: pixels that divide the longer side.
        most_aspect: largest longer side by shorter side.

    Raises:
        InputError: it is longer than `most_aspect` times its width.
    """
    image = colours.own(image).upright
    short, long = sorted(image.size)
    if long > most_aspect * short:
        raise InputError(
            f"the picture is {image.width} x {image.height}; its longer side must be at most "
            f"{most_aspect} times the shorter."
        )
    other = max(side, round(side * long / short / unit) * unit)
    size = (side, other) if image.width <= image.height else (other, side)
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def strip(frames: list[Image.Image]) -> Image.Image:
    """Pictures of one size side by side; a single one is itself."""
    if len(frames) == 1:
        return frames[0]
    return Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames], axis=1))


def gif(frames: list[Image.Image], milliseconds: int = 120) -> bytes:
    """A GIF file of pictures of one size, one after the other and back, for ever."""
    there_and_back, buffer = [*frames, *frames[-2:0:-1]], io.BytesIO()
    there_and_back[0].save(
        buffer, format="GIF", save_all=True, append_images=there_and_back[1:],
        duration=milliseconds, loop=0, comment=provenance.COMMENT,
    )  # fmt: skip
    return buffer.getvalue()


def identity(image: Image.Image, whole: bool = False) -> dict[str, Any]:
    """A record of a picture that went in: its pixels' hash, and its file.

    The hash is of upright 8-bit sRGB pixels, so the same picture in another format is the same.

    Args:
        image: a picture.
        whole: whether its transparency and own colours matter, too; they have a hash if it has any.
    """
    own, path = colours.own(image), getattr(image, "filename", "")
    hashes = {"sha256": images.pixels_hash(own.upright), "own": images.pixels_hash(own.image)}
    if not whole or hashes["own"] == hashes["sha256"]:
        del hashes["own"]
    return {**hashes, **({"path": str(path)} if path else {})}
