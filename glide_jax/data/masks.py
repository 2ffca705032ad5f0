"""Masks for inpainting training: random regions of a picture erased (GLIDE, section 4.3).

The paper does not say how its regions were drawn. These are the shapes that people erase: boxes,
brush strokes, blobs, one side of a picture (outpainting), all around it, and all of it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from glide_jax import checks
from glide_jax.errors import InputError

_SIDE = 64  # masks are drawn at the base's size, so that both stages learn the same kind of edge


def draw(
    rng: np.random.Generator,
    size: int,
    kinds: Sequence[str],
    whole_fraction: float = 0.0,
) -> NDArray[np.float32]:
    """Returns a mask (size, size, 1), 1 where the picture is known; at least one pixel is not.

    Args:
        rng: its two first draws choose the kind, so a seed erases alike at every size.
        size: the mask's side in pixels; it is drawn at 64 and scaled by nearest.
        kinds: keys of `KINDS`, one of them chosen by its weight.
        whole_fraction: part of the masks that erase everything, which keeps text-to-image alive.
    """
    whole, pick = rng.random(2)
    kind = "everything"
    if whole >= whole_fraction:
        shares = np.cumsum([KINDS[kind].weight for kind in kinds])
        chosen = int(np.searchsorted(shares, pick * shares[-1], side="right"))
        kind = kinds[min(chosen, len(kinds) - 1)]  # pick * last may round up to last
    erased = KINDS[kind].draw(rng)
    if not erased.any():  # a shape between pixels
        erased[_SIDE // 2, _SIDE // 2] = True
    rows = np.arange(size) * _SIDE // size
    return (~erased[np.ix_(rows, rows)])[..., None].astype(np.float32)


def check_kinds(name: str, kinds: Sequence[str]) -> tuple[str, ...]:
    """Returns the kinds as a tuple, each a key of `KINDS`; `name` is the option's.

    Raises:
        InputError: one is unknown.
    """
    if isinstance(kinds, str):
        raise InputError(f"{name} is {kinds!r}; it must be a list, such as ({kinds!r},).")
    return tuple(checks.one_of(name, kind, tuple(KINDS)) for kind in kinds)


def _boxes(rng: np.random.Generator, count: int, low: float, high: float) -> NDArray[np.bool_]:
    erased = np.zeros((_SIDE, _SIDE), bool)
    for _ in range(count):
        height, width = np.rint(rng.uniform(low, high, 2) * _SIDE).astype(int)
        top, left = rng.integers(_SIDE - height + 1), rng.integers(_SIDE - width + 1)
        erased[top : top + height, left : left + width] = True
    return erased


def _strokes(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Erases walks of a round brush, which turn a little at each step."""
    picture = Image.new("1", (_SIDE, _SIDE))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 5))):
        radius = rng.uniform(0.03, 0.12) * _SIDE
        x, y = rng.uniform(0, _SIDE, 2)
        angle = rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(4, 13))):
            angle += rng.normal(0, 0.6)
            step = rng.uniform(0.05, 0.2) * _SIDE
            to_x = float(np.clip(x + step * np.cos(angle), 0, _SIDE))
            to_y = float(np.clip(y + step * np.sin(angle), 0, _SIDE))
            pen.line((x, y, to_x, to_y), fill=1, width=max(1, round(2 * radius)))
            pen.ellipse((to_x - radius, to_y - radius, to_x + radius, to_y + radius), fill=1)
            x, y = to_x, to_y
    return np.array(picture)


def _half(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Erases all beyond a straight line, mostly an upright or level one, as in outpainting."""
    angle = rng.integers(4) * np.pi / 2 if rng.random() < 0.75 else rng.uniform(0, 2 * np.pi)
    across, down = _grid()
    along = (across - 0.5) * np.cos(angle) + (down - 0.5) * np.sin(angle)
    return along > rng.uniform(-0.3, 0.3)


def _ellipse(rng: np.random.Generator) -> NDArray[np.bool_]:
    across, down = _grid()
    angle = rng.uniform(0, np.pi)
    x, y = across - rng.uniform(0.2, 0.8), down - rng.uniform(0.2, 0.8)
    long, short = rng.uniform(0.1, 0.45, 2)
    turned = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (turned[0] / long) ** 2 + (turned[1] / short) ** 2 < 1


def _blob(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Erases inside a few waves around a circle, the outline of a thing cut out by hand."""
    across, down = _grid()
    x, y = across - rng.uniform(0.3, 0.7), down - rng.uniform(0.3, 0.7)
    angle, radius = np.arctan2(y, x), rng.uniform(0.15, 0.4)
    outline = np.ones_like(angle)
    for waves in range(2, 6):
        outline += rng.uniform(0, 0.4) / waves * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return np.hypot(x, y) < radius * outline


class Kind(NamedTuple):
    """A kind of mask: how often it is chosen, and (rng) -> bool (64, 64), True where erased."""

    weight: float
    draw: Callable[[np.random.Generator], NDArray[np.bool_]]


KINDS = {
    "box": Kind(3.0, lambda rng: _boxes(rng, 1, 0.2, 0.8)),
    "boxes": Kind(2.0, lambda rng: _boxes(rng, int(rng.integers(2, 6)), 0.1, 0.4)),
    "strokes": Kind(3.0, _strokes),
    "half": Kind(2.0, _half),
    "border": Kind(1.0, lambda rng: ~_boxes(rng, 1, 0.3, 0.8)),  # all around a box
    "ellipse": Kind(1.0, _ellipse),
    "blob": Kind(2.0, _blob),
    "everything": Kind(1.0, lambda rng: np.ones((_SIDE, _SIDE), bool)),
}


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the middles of the pixels, across and down, as parts of the side."""
    middles = (np.arange(_SIDE) + 0.5) / _SIDE
    return middles[None, :], middles[:, None]
