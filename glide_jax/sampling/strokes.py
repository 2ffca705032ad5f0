"""Masks as people make them: which part of a picture is to be painted, and how much of it.

White is painted, black is kept and grey is blended. Some other habits leave no doubt and are
understood: one value besides 0, strokes of one colour on black or on a transparent layer, and the
picture itself with holes. Every other mask is refused with what is in it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glide_jax import images
from glide_jax.errors import InputError

_BLACK, _WHITE = 16, 239  # a JPEG's black and white are not quite 0 and 255
_COLOURED = 32  # a JPEG's greys differ less between their channels
_FEW = 8  # colours that somebody paints with; a photograph has more
ADVICE = "save it in black and white, with white (255) where to paint and black (0) elsewhere."


class Mask(NamedTuple):
    """A mask that is understood."""

    shares: NDArray[np.float32]  # (h, w), 0 where the picture is kept, 1 where it is painted
    reading: str = ""  # how it was read, where that was not as white on black


def read(mask: Image.Image | Mask, picture: Image.Image | None = None) -> Mask:
    """Understands a mask; it may be black throughout.

    Args:
        mask: A picture in any mode, or a mask that is understood already.
        picture: What it is for, as `given.own` gives it.

    Raises:
        InputError: It is not clear what is to be painted.
    """
    if isinstance(mask, Mask):
        return mask
    mask = images.turned(mask)
    if mask.has_transparency_data:
        layer = np.asarray(images.converted(mask, "RGBA"))
        if layer[..., 3].min() < 255:
            return _of_layer(layer, picture)
        mask = Image.fromarray(layer[..., :3])
    if mask.mode.startswith("I"):
        return _of_levels(_of_16_bits(np.asarray(mask, np.int64)))
    colours = np.asarray(images.flat(mask, "RGB", "black"))
    if _coloured(colours).mean() > 0.001:
        return _of_colours(colours)
    return _of_levels(np.asarray(images.flat(mask, "L", "black")))


def _of_levels(levels: NDArray[np.uint8]) -> Mask:
    """White on black, grey between; with one value besides 0 that one is white."""
    values = np.flatnonzero(np.bincount(levels.ravel(), minlength=256))
    some = values[values > 0]
    if len(some) == 1 and some[0] <= _WHITE:
        return Mask(
            (levels > 0).astype(np.float32), f"its one value besides 0, {some[0]}, as white"
        )
    if len(some) and some[-1] < 128:
        listed = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
        raise InputError(
            f"the mask has no white (255): its values are {listed}, so it may be a map of several "
            f"labels; {ADVICE}"
        )
    grey = levels.astype(np.float32)
    clean = np.where(grey < _BLACK, 0.0, np.where(grey > _WHITE, 255.0, grey))
    return Mask((clean / 255.0).astype(np.float32))


def _of_16_bits(levels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """8 bits of wider whole numbers; those of 8 bits in a wider file stay as they are."""
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or high > 65535:
        raise InputError(f"the mask's values are from {low} to {high}; {ADVICE}")
    return (levels if high <= 255 else (levels + 128) // 257).astype(np.uint8)


def _of_colours(colours: NDArray[np.uint8]) -> Mask:
    """Strokes of one colour on black, also where their edges are soft."""
    kinds, counts = _kinds(colours)
    strongest = kinds[np.where(_coloured(kinds), kinds.max(-1), 0).argmax()]
    one = kinds.max(-1, keepdims=True) * (strongest / strongest.max())
    others = np.abs(kinds - one).max(-1) > 2 * _COLOURED
    if counts[others].sum() > 0.005 * counts.sum():
        raise InputError(f"the mask is coloured ({_listed(kinds, counts)}); {ADVICE}")
    mask = _of_levels(colours.max(-1))
    return mask._replace(reading=f"{_name(strongest)} as white")


def _of_layer(layer: NDArray[np.uint8], picture: Image.Image | None) -> Mask:
    """Strokes on a transparent layer, or the picture itself with holes to be painted."""
    alpha, opaque = layer[..., 3], layer[..., 3] >= 128
    opaque = opaque if opaque.any() else alpha > 0
    if not opaque.any():
        return Mask(np.zeros(alpha.shape, np.float32))
    if picture is not None and _is_part(layer, opaque, picture):
        return Mask(1.0 - alpha.astype(np.float32) / 255.0, "its transparency as white")
    kinds, counts = _kinds(layer[..., :3][opaque])
    if _coloured(kinds).any():
        if len(np.unique(kinds // 16, axis=0)) > _FEW:
            raise InputError(
                f"the mask is transparent in parts and has many colours ({_listed(kinds, counts)})"
                f", but it is not the picture with holes; {ADVICE}"
            )
        return _of_levels(alpha)._replace(reading="its strokes as white")
    if kinds.max() < _BLACK:
        raise InputError(
            f"the mask is black or else transparent, so either may be what to paint; {ADVICE}"
        )
    over = Image.new("RGBA", alpha.shape[::-1], "black")
    over.alpha_composite(Image.fromarray(layer))
    return _of_levels(np.asarray(over.convert("L")))


def _is_part(layer: NDArray[np.uint8], opaque: NDArray[np.bool_], picture: Image.Image) -> bool:
    """Whether the opaque part of a mask is the picture's, and not just of the same one colour."""
    if picture.size != layer.shape[1::-1]:
        return False
    there = np.asarray(picture.convert("RGB"))[opaque]
    same = np.abs(there.astype(int) - layer[..., :3][opaque]).max(-1) <= 2
    return bool(same.mean() > 0.99 and len(np.unique(there, axis=0)) > 1)


def _coloured(colours: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return colours.max(-1) - colours.min(-1) > _COLOURED


def _kinds(colours: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The different colours, and how many pixels have each."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    packed, counts = np.unique((red << 16) + (green << 8) + blue, return_counts=True)
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], -1).astype(np.uint8), counts


def _name(colour: NDArray[np.uint8]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _listed(kinds: NDArray[np.uint8], counts: NDArray[np.int64]) -> str:
    """The commonest colours, as messages name them."""
    names = [_name(kinds[k]) for k in np.argsort(-counts)[:3]]
    return ", ".join(names) + (f" and {len(kinds) - 3:,} more" if len(kinds) > 3 else "")
