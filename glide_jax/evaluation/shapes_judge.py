"""An exact judge of the shapes set: reads a picture back into objects and checks it on a caption.

No network is involved, so its errors are not a model's: objects are the regions that differ from
the border's colour, a colour is the nearest palette entry in CIELAB, a shape is the template with
the largest soft overlap.
"""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glide_jax.data.readers import shapes
from glide_jax.errors import InputError
from glide_jax.extras import extra

UNKNOWN = "unknown"

_SIDE = 64  # the pictures are judged at this size
_GRID = 24  # side of a normalised mask
_CONTRAST = 22.0  # CIELAB distance from the background that makes a pixel an object's
_MIN_AREA = 24  # pixels at 64; the smallest object of the set, a star, has about 95
_MIN_SCORE = 0.70  # clean objects score .74 and more, other forms mostly less
_MAX_COLOUR_DISTANCE = 40.0  # blurred objects stay below 32; gray and white are 44 from cyan
_MAX_SMALL = 28  # extent in pixels at 64: small objects have at most 24, large ones at least 30
_NOISE = 2.5  # grey levels of noise from which a median filter pays


class SeenObject(NamedTuple):
    """An object of a picture: x (right), y (down) in [0, 1], extent in pixels at 64."""

    colour: str
    shape: str
    x: float
    y: float
    extent: int
    rgb: tuple[float, float, float]  # 0 to 255, away from the edges


class Judged(NamedTuple):
    """The background and the objects that the judge sees in a picture."""

    background: str
    objects: tuple[SeenObject, ...]


class Verdict(NamedTuple):
    """Which statements of a caption hold; None where the caption does not state it."""

    count: bool
    background: bool
    colours: bool
    shapes: bool
    binding: bool
    relation: bool | None
    size: bool | None

    @property
    def all(self) -> bool:
        """Whether everything that the caption states holds."""
        return all(part is not False for part in self)


def judge(image: NDArray[np.uint8]) -> Judged:
    """Find the objects of a square picture (h, h, 3) uint8, ordered from left to right."""
    ndimage = extra("scipy.ndimage")
    rgb = _denoised(_reduced(image))
    lab = _lab(rgb)
    border = np.ones((_SIDE, _SIDE), bool)
    border[2:-2, 2:-2] = False
    ground_rgb, ground_lab = np.median(rgb[border], 0), np.median(lab[border], 0)
    background, _ = _nearest(ground_lab, shapes.BACKGROUNDS)
    differs = np.linalg.norm(lab - ground_lab, axis=-1) > _CONTRAST
    labels, n = ndimage.label(differs, np.ones((3, 3)))
    objects = (_read(labels == i, rgb, lab, ground_rgb) for i in range(1, n + 1))
    return Judged(background, tuple(sorted(filter(None, objects), key=lambda o: o.x)))


def judge_caption(image: NDArray[np.uint8], caption: str) -> Verdict:
    """Check a picture on a caption of the set, alone: nothing else of the scene is needed."""
    return verdict_on(judge(image), parse_caption(caption))


def parse_caption(text: str) -> shapes.Spec:
    """Parses a caption of the set.

    Raises:
        InputError: it is no caption of the set.
    """
    spec = shapes.parse(text)
    if spec is None:
        raise InputError(f"caption {text!r} is not of the shapes grammar (shapes.captions()).")
    return spec


def verdict_on(judged: Judged, spec: shapes.Spec) -> Verdict:
    """Check the objects seen on a parsed caption; order matters for relations only."""
    seen = judged.objects
    binding = _same(((o.colour, o.shape) for o in seen), spec.objects)
    relation = size = None
    if spec.relation:
        relation = binding and _holds(spec.relation, seen, spec.objects)
    if spec.size:
        size = len(seen) == 1 and (seen[0].extent < _MAX_SMALL) == (spec.size == "small")
    return Verdict(
        count=len(seen) == len(spec.objects),
        background=judged.background == spec.background,
        colours=_same((o.colour for o in seen), (colour for colour, _ in spec.objects)),
        shapes=_same((o.shape for o in seen), (shape for _, shape in spec.objects)),
        binding=binding,
        relation=relation,
        size=size,
    )


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape != (len(image), len(image), 3):
        raise InputError(f"image is {image.dtype} {image.shape}, but must be uint8 (h, h, 3).")
    if len(image) == _SIDE:
        return image
    return np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX))


def _denoised(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Median-filter a noisy picture; a clean one is left alone, as the filter rounds corners."""
    ndimage = extra("scipy.ndimage")
    x = image.astype(np.float32)
    ripple = 4 * x[1:-1, 1:-1] - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]
    # The median absolute deviation of a Laplacian (weights' norm sqrt(20)) ignores the few edges.
    noise = np.median(np.abs(ripple)) / (0.6745 * np.sqrt(20))
    return ndimage.median_filter(image, (3, 3, 1)) if noise > _NOISE else image


def _read(
    region: NDArray[np.bool_], rgb: NDArray, lab: NDArray, ground: NDArray
) -> SeenObject | None:
    """Describe the object of a region, or None for a speck."""
    ndimage = extra("scipy.ndimage")
    if region.sum() < _MIN_AREA:
        return None
    core = np.asarray(ndimage.binary_erosion(region), bool)
    core = core if core.sum() >= 6 else region  # edges are mixed with the background
    colour, distance = _nearest(np.median(lab[core], 0), shapes.COLOURS)
    # Coverage: where between the background (0) and the object's colour (1) a pixel lies.
    direction = np.median(rgb[core], 0) - ground
    cover = ((rgb - ground) @ direction / (direction @ direction + 1e-6)).clip(0, 1)
    cover = cover * ndimage.binary_dilation(region, iterations=2)
    ys, xs = np.nonzero(cover > 0.5)
    if len(xs) < _MIN_AREA:
        return None
    shape, score = _match(_normalised(cover))
    return SeenObject(
        colour=colour if distance <= _MAX_COLOUR_DISTANCE else UNKNOWN,
        shape=shape if score >= _MIN_SCORE else UNKNOWN,
        x=float(xs.mean() + 0.5) / _SIDE,
        y=float(ys.mean() + 0.5) / _SIDE,
        extent=int(max(np.ptp(xs), np.ptp(ys))) + 1,
        rgb=tuple(np.median(rgb[core], 0).tolist()),
    )


def _match(mask: NDArray[np.float32]) -> tuple[str, float]:
    """The shape of the best template and its score, a soft intersection over union in [0, 1]."""
    names, templates = _templates()
    larger = np.maximum(templates, mask).sum((1, 2))
    score = 1 - np.abs(templates - mask).sum((1, 2)) / (larger + 1e-6)
    best = int(score.argmax())
    return names[best], float(score[best])


@lru_cache
def _templates() -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Every shape at five radii and two pixel phases, sharp and soft.

    The soft ones are for small stars, which a slight blur takes below the least score otherwise.
    """
    ndimage = extra("scipy.ndimage")
    names, masks = [], []
    for shape in shapes.SHAPES:
        for radius in (0.12, 0.15, 0.19, 0.25, 0.32):
            for centre in (0.5, 0.5 + 0.5 / _SIDE):
                drawn = shapes.Object("", shape, centre, centre, radius, (255, 255, 255))
                scene = shapes.Scene("", (drawn,), None, None, "single", (0, 0, 0))
                mask = shapes.render(scene, _SIDE)[..., 0] / 255
                masks += [_normalised(mask), _normalised(ndimage.gaussian_filter(mask, 0.8))]
                names += [shape, shape]
    return tuple(names), np.stack(masks)


def _normalised(cover: NDArray) -> NDArray[np.float32]:
    """A mask's bounding square with two pixels of margin, resized to 24 x 24."""
    ys, xs = np.nonzero(cover > 0.5)
    top, left = ys.min(), xs.min()
    height, width = np.ptp(ys) + 1, np.ptp(xs) + 1
    side = max(height, width) + 4
    padded = np.pad(cover, side)
    y = top + side - (side - height) // 2
    x = left + side - (side - width) // 2
    square = Image.fromarray((padded[y : y + side, x : x + side] * 255).astype(np.uint8))
    square = square.resize((_GRID, _GRID), Image.Resampling.BILINEAR)
    return np.asarray(square, np.float32) / np.float32(255)


def _nearest(lab: NDArray, palette: dict[str, tuple[int, int, int]]) -> tuple[str, float]:
    entries = _lab(np.array(list(palette.values())))
    distances = np.linalg.norm(entries - lab, axis=-1)
    best = int(distances.argmin())
    return list(palette)[best], float(distances[best])


def _lab(rgb: NDArray) -> NDArray[np.float32]:
    """CIELAB (D65) of sRGB in [0, 255]; distances there are close to how people see them."""
    x = np.asarray(rgb, np.float32) / 255
    linear = np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92)
    xyz = linear @ np.array(
        [[0.4339, 0.2126, 0.0178], [0.3762, 0.7152, 0.1095], [0.1899, 0.0722, 0.8728]], np.float32
    )  # columns over the white point
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _same(first: Iterable, second: Iterable) -> bool:
    return Counter(first) == Counter(second)


def _holds(relation: str, seen: tuple[SeenObject, ...], pairs: tuple[tuple[str, str], ...]) -> bool:
    """Whether first is, for example, to the left of second: by more than it is above or below."""
    first, second = (next(o for o in seen if (o.colour, o.shape) == pair) for pair in pairs)
    right, down = second.x - first.x, second.y - first.y
    return {
        "to the left of": right > abs(down),
        "to the right of": -right > abs(down),
        "above": down > abs(right),
        "below": -down > abs(right),
    }[relation]
