"""Captioned scenes of coloured shapes: endless training pairs whose captions can be checked.

A scene is drawn in two steps: its content (`Spec`, all that the caption states) and its geometry
(`Scene`). Some colour-shape pairs and some counts are withheld from training, so that
composition can be measured on captions that no training run has seen.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from glide_jax import checks
from glide_jax.errors import InputError

COLOURS = {
    "red": (214, 39, 40),
    "orange": (255, 137, 20),
    "yellow": (247, 220, 50),
    "green": (44, 160, 60),
    "cyan": (60, 205, 225),
    "blue": (40, 80, 215),
    "purple": (130, 50, 175),
    "pink": (250, 130, 190),
}
BACKGROUNDS = {"white": (255, 255, 255), "gray": (128, 128, 128), "black": (12, 12, 12)}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "diamond", "ring")
RELATIONS = ("to the left of", "to the right of", "above", "below")
SIZES = {"small": (0.12, 0.16), "large": (0.27, 0.34)}  # radius as a part of the picture
COUNTS = {"two": 2, "three": 3, "four": 4}
KINDS = ("single", "count", "pair", "relation")
PLAIN = "plain"  # a kind besides: a single object whose size the caption leaves open
SPLITS = ("train", "held_out", "all")

# A Latin diagonal: every colour and every shape is withheld once, so each is still well trained.
# The shift avoids pairs that people try first (a red heart, a yellow star).
HELD_OUT_PAIRS = frozenset((c, SHAPES[(3 * i + 6) % 8]) for i, c in enumerate(COLOURS))
HELD_OUT_FOURS = frozenset({"triangle", "ring"})

_JITTER, _BACKGROUND_JITTER = 10, 4  # largest change of a channel, out of 255
_SUPERSAMPLE = 8
_RING_HOLE = 0.52  # inner radius of a ring over its outer radius
REACH = 1.15  # no outline leaves a box of this half-width around its centre, in radii
_DOMINANCE = 1.6  # a relation's axis shows at least this times the offset of the other axis


@dataclass(frozen=True)
class Spec:
    """The content of a caption: `objects` are (colour, shape) in the caption's order."""

    kind: str
    background: str
    objects: tuple[tuple[str, str], ...]
    relation: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Object:
    """One shape; x (right), y (down) and radius are parts of the picture's side."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """Everything that `render` needs; a relation is that of objects[0] to objects[1]."""

    background: str
    objects: tuple[Object, ...]
    relation: str | None
    size: str | None
    kind: str
    background_rgb: tuple[int, int, int]

    @property
    def spec(self) -> Spec:
        """The part of the scene that the caption states."""
        objects = tuple((o.colour, o.shape) for o in self.objects)
        return Spec(self.kind, self.background, objects, self.relation, self.size)


def held_out(scene: Scene | Spec) -> bool:
    """Returns whether a scene contains a combination that is withheld from training."""
    pairs = (
        [(o.colour, o.shape) for o in scene.objects] if isinstance(scene, Scene) else scene.objects
    )
    four = len(pairs) == 4 and pairs[0][1] in HELD_OUT_FOURS
    return four or any(pair in HELD_OUT_PAIRS for pair in pairs)


def sample_scene(
    rng: np.random.Generator, *, split: str = "train", kinds: Sequence[str] = KINDS
) -> Scene:
    """Samples a scene of a split; colours, shapes and relations are uniform within it.

    Args:
        rng: decides the scene.
        split: one of SPLITS.
        kinds: each one of KINDS, or PLAIN, or of RELATIONS for scenes of that relation alone; one
            that is repeated is sampled more often.

    Raises:
        InputError: there is no such split.
    """
    checks.one_of("split", split, SPLITS)
    spec = _sample_spec(rng, kinds)
    while not _in_split(spec, split):
        spec = _sample_spec(rng, kinds)
    return scene_of(spec, rng)


def scene_of(spec: Spec, rng: np.random.Generator) -> Scene:
    """Samples what a caption leaves open: its objects' places, sizes and shades."""
    objects = tuple(
        Object(colour, shape, *place, _jitter(rng, COLOURS[colour], _JITTER))
        for (colour, shape), place in zip(spec.objects, _places(rng, spec), strict=True)
    )
    background_rgb = _jitter(rng, BACKGROUNDS[spec.background], _BACKGROUND_JITTER)
    return Scene(spec.background, objects, spec.relation, spec.size, spec.kind, background_rgb)


def caption(scene: Scene | Spec) -> str:
    """Returns the one sentence that describes a scene; `parse` reads it back."""
    spec = scene.spec if isinstance(scene, Scene) else scene
    colour, shape = spec.objects[0]
    if spec.kind == "single":
        text = f"a {spec.size} {colour} {shape}"
    elif spec.kind == PLAIN:
        text = f"{_article(colour)} {colour} {shape}"
    elif spec.kind == "count":
        number = next(word for word, n in COUNTS.items() if n == len(spec.objects))
        text = f"{number} {colour} {plural(shape)}"
    else:
        first, second = (f"{_article(c)} {c} {s}" for c, s in spec.objects)
        text = f"{first} {spec.relation or 'and'} {second}"
    return f"{text} on a {spec.background} background"


def parse(text: str) -> Spec | None:
    """Reads a caption; None if it is not of this set's grammar. Case and spacing are free."""
    text = " ".join(text.lower().split()).rstrip(".")
    if m := _SINGLE.fullmatch(text):
        kind = "single" if m["size"] else PLAIN
        return Spec(kind, m["background"], ((m["c1"], m["s1"]),), size=m["size"])
    if m := _COUNT.fullmatch(text):
        shape = next(s for s in SHAPES if plural(s) == m["shapes"])
        return Spec("count", m["background"], ((m["c1"], shape),) * COUNTS[m["number"]])
    if m := _TWO.fullmatch(text):
        objects = ((m["c1"], m["s1"]), (m["c2"], m["s2"]))
        if m["relation"] == "and":
            return Spec("pair", m["background"], objects)
        return Spec("relation", m["background"], objects, relation=m["relation"])
    return None


def captions(split: str = "all") -> list[str]:
    """Returns every caption of a split (61,440 in all), to train a tokenizer or list prompts.

    Those of PLAIN are not among them; they have no other words.
    """
    checks.one_of("split", split, SPLITS)
    return [caption(spec) for spec in _specs() if _in_split(spec, split)]


def render(scene: Scene, size: int = 64) -> NDArray[np.uint8]:
    """Draws a scene as (size, size, 3) uint8, antialiased, with the same geometry at every size.

    Each object is drawn 8 times larger on a crop of its own and box-reduced to its coverage,
    which is several times faster than supersampling the whole picture.

    Raises:
        InputError: `size` is under 8.
    """
    if size < 8:
        raise InputError(f"size is {size}, but a picture needs at least 8 pixels a side.")
    background = np.array(scene.background_rgb, np.float32)
    picture = np.broadcast_to(background, (size, size, 3)).copy()
    for o in scene.objects:
        left, right = _span(o.x, o.radius, size)
        top, bottom = _span(o.y, o.radius, size)
        mask = Image.new("L", ((right - left) * _SUPERSAMPLE, (bottom - top) * _SUPERSAMPLE))
        draw = ImageDraw.Draw(mask)
        centre = np.array([o.x * size - left, o.y * size - top])
        for scale, fill in ((1.0, 255), (_RING_HOLE, 0)) if o.shape == "ring" else ((1.0, 255),):
            corners = (_outline(o.shape) * (scale * o.radius * size) + centre) * _SUPERSAMPLE
            # Pillow truncates corners and fills both ends: half a pixel back centres the shape.
            draw.polygon(np.rint(corners - 0.5).astype(int).ravel().tolist(), fill=fill)
        cover = np.asarray(mask.reduce(_SUPERSAMPLE), np.float32)[..., None] / 255
        picture[top:bottom, left:right] += cover * (np.array(o.rgb, np.float32) - background)
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def _in_split(spec: Spec, split: str) -> bool:
    return split == "all" or held_out(spec) == (split == "held_out")


def _pick(rng: np.random.Generator, values):
    """Chooses uniformly and keeps the element's type (rng.choice makes arrays and is slow)."""
    values = tuple(values)
    return values[int(rng.integers(len(values)))]


def _sample_spec(rng: np.random.Generator, kinds: Sequence[str]) -> Spec:
    kind, background = _pick(rng, kinds), _pick(rng, BACKGROUNDS)
    first = (_pick(rng, COLOURS), _pick(rng, SHAPES))
    if kind == PLAIN:
        return Spec(kind, background, (first,))
    if kind == "single":
        return Spec(kind, background, (first,), size=_pick(rng, SIZES))
    if kind == "count":
        return Spec(kind, background, (first,) * _pick(rng, COUNTS.values()))
    second = first
    while second == first:
        second = (_pick(rng, COLOURS), _pick(rng, SHAPES))
    if kind == "pair":
        return Spec(kind, background, (first, second))
    relation = _pick(rng, RELATIONS) if kind == "relation" else kind
    return Spec("relation", background, (first, second), relation=relation)


def _specs() -> Iterator[Spec]:
    """Yields every spec of the grammar once, kind by kind."""
    pairs = tuple(product(COLOURS, SHAPES))
    for background in BACKGROUNDS:
        for pair in pairs:
            yield from (Spec("single", background, (pair,), size=size) for size in SIZES)
            yield from (Spec("count", background, (pair,) * n) for n in COUNTS.values())
        for two in permutations(pairs, 2):
            yield Spec("pair", background, two)
            yield from (Spec("relation", background, two, relation=r) for r in RELATIONS)


def _places(rng: np.random.Generator, spec: Spec) -> list[tuple[float, float, float]]:
    """Samples (x, y, radius) for each object, without overlap and true to the relation."""
    if len(spec.objects) == 1:
        return _scatter(rng, 1, *SIZES[spec.size or _pick(rng, SIZES)])
    if spec.kind == "count":
        return _scatter(rng, len(spec.objects), 0.12, 0.17)
    first, second = _scatter(rng, 2, 0.13, 0.19)
    if spec.relation is None:
        return [first, second]
    while not _clear(first, second):
        first, second = _scatter(rng, 2, 0.13, 0.19)
    # Scattering favours no axis and no order, so turning a clear pair is as good as drawing anew.
    axis = 0 if spec.relation in ("to the left of", "to the right of") else 1
    if abs(second[axis] - first[axis]) < abs(second[1 - axis] - first[1 - axis]):
        first, second = ((y, x, radius) for x, y, radius in (first, second))
    backwards = spec.relation in ("to the right of", "below")
    return sorted((first, second), key=lambda place: place[axis], reverse=backwards)


def _scatter(rng: np.random.Generator, n: int, low: float, high: float):
    """Samples n discs (x, y, radius) inside the picture and apart; starts anew when stuck."""
    while True:
        places: list[tuple[float, float, float]] = []
        for _ in range(40 * n):
            radius = rng.uniform(low, high)
            x, y = rng.uniform(REACH * radius + 0.02, 1 - REACH * radius - 0.02, 2).tolist()
            # 1.3 radii are what two corners (a square's and a triangle's) need to stay apart.
            if all(math.hypot(x - a, y - b) > 1.3 * (radius + r) + 0.02 for a, b, r in places):
                places.append((x, y, radius))
            if len(places) == n:
                return places


def _clear(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    across, down = abs(second[0] - first[0]), abs(second[1] - first[1])
    return max(across, down) > _DOMINANCE * min(across, down)


def _jitter(rng: np.random.Generator, rgb: tuple[int, ...], amount: int) -> tuple[int, int, int]:
    moved = np.clip(np.array(rgb) + rng.integers(-amount, amount + 1, 3), 0, 255)
    return tuple(moved.tolist())


def _span(centre: float, radius: float, size: int) -> tuple[int, int]:
    """Returns the pixels [low, high) that an object can touch along one axis."""
    low = math.floor((centre - REACH * radius) * size)
    high = math.ceil((centre + REACH * radius) * size) + 1
    return max(0, low), min(size, high)


@lru_cache
def _outline(shape: str) -> NDArray[np.float64]:
    """Returns the corners (n, 2) of a shape of radius 1 around 0, y down; areas are alike."""
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    if shape == "square":
        return 0.88 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    if shape == "triangle":
        return np.array([(0, -1), (1.05, 0.85), (-1.05, 0.85)])
    if shape == "diamond":
        return np.array([(0, -1.1), (0.8, 0), (0, 1.1), (-0.8, 0)])
    if shape == "star":
        angle, radius = np.arange(10) * np.pi / 5 - np.pi / 2, np.tile([1.12, 0.46], 5)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    if shape == "cross":
        arm = np.array([(-0.34, -0.34), (-0.34, -1), (0.34, -1)])
        quarter = np.array([(0, 1), (-1, 0)])  # a quarter turn, clockwise on the screen
        return np.concatenate([arm @ np.linalg.matrix_power(quarter, k) for k in range(4)])
    if shape == "heart":
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([x, 2 - y], 1) * (1.02 / 16.5)
    return np.stack([np.cos(t), np.sin(t)], 1)  # a circle, and a ring's two edges


def plural(shape: str) -> str:
    """The word for several of a shape."""
    return shape + ("es" if shape.endswith("s") else "s")


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


_THING = rf"an? (?P<c{{0}}>{'|'.join(COLOURS)}) (?P<s{{0}}>{'|'.join(SHAPES)})"
_GROUND = rf" on an? (?P<background>{'|'.join(BACKGROUNDS)}) background"
_SINGLE = re.compile(
    rf"an? (?:(?P<size>{'|'.join(SIZES)}) )?(?P<c1>{'|'.join(COLOURS)}) (?P<s1>{'|'.join(SHAPES)})"
    + _GROUND
)
_COUNT = re.compile(
    rf"(?P<number>{'|'.join(COUNTS)}) (?P<c1>{'|'.join(COLOURS)})"
    rf" (?P<shapes>{'|'.join(map(plural, SHAPES))})" + _GROUND
)
_TWO = re.compile(
    f"{_THING.format(1)} (?P<relation>and|{'|'.join(RELATIONS)}) {_THING.format(2)}" + _GROUND
)
