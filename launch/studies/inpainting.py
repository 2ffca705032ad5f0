"""Cases of inpainting: a part of a picture erased, and painted anew from the picture's caption.

In scenes of shapes the erased part is an object, so that the answer can be checked.
"""

import pathlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from tqdm import tqdm

from glide_jax import images
from glide_jax.data.readers import shapes
from glide_jax.evaluation import draws, shapes_judge
from glide_jax.evaluation.shapes_judge import UNKNOWN
from glide_jax.sampling import edits
from glide_jax.sampling.glide import Glide

SIDE = 64
MARGIN = 0.05  # beyond the erased object's outline, as a part of the picture's side
_STREAM = 2**31 + 2  # a stream of random numbers apart from those of training and protocols


class Case(NamedTuple):
    """One picture with a part to paint."""

    image: UInt8[np.ndarray, "h w 3"]
    painted: Bool[
        np.ndarray, "h w"
    ]  # box to repaint; in shape scenes it contains exactly one object
    caption: str  # describes the whole picture
    asked: tuple[str, str] = ("", "")  # colour and shape of the erased object in a shape scene

    @property
    def mask(self) -> Image.Image:
        """White where it is to be painted."""
        return Image.fromarray(np.where(self.painted, 255, 0).astype(np.uint8))

    @property
    def erased(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture with a checkerboard where it is to be painted, to be looked at."""
        board = np.indices(self.painted.shape).sum(0) // 4 % 2 * 64 + 96
        return np.where(self.painted[..., None], board[..., None], self.image).astype(np.uint8)


class Outcome(NamedTuple):
    """The judge's verdict on a result."""

    object: bool  # inside there is one object of the asked colour and shape
    colour: bool  # inside there is one object of the asked colour
    shape: bool
    whole: bool  # everything in the caption holds


def cases(n: int, *, size: int = SIDE, seed: int = 0) -> Iterator[Case]:
    """The first n cases of a seed: scenes with combinations that training withholds.

    The object that is erased is one of the withheld colour and shape, if there is one. Scenes in
    which another object reaches into the box are passed over.

    Args:
        n: number of cases.
        size: pixels a side.
        seed: for the scenes.
    """
    rng = np.random.default_rng((_STREAM, seed))
    found = 0
    while found < n:
        scene = shapes.sample_scene(rng, split="held_out")
        pairs = [(o.colour, o.shape) for o in scene.objects]
        unseen = [k for k, pair in enumerate(pairs) if pair in shapes.HELD_OUT_PAIRS]
        candidates = unseen or range(len(pairs))
        chosen = candidates[int(rng.integers(len(candidates)))]
        boxes = [_box(o, size, 0.0) for o in scene.objects]
        box = _box(scene.objects[chosen], size, MARGIN)
        if any(_meet(box, other) for k, other in enumerate(boxes) if k != chosen):
            continue
        painted = np.zeros((size, size), bool)
        painted[box] = True
        image = shapes.render(scene, size)
        yield Case(image, painted, shapes.caption(scene), pairs[chosen])
        found += 1


def boxes(
    pictures: Iterable[UInt8[np.ndarray, "h w 3"]], captions: Iterable[str], *, seed: int = 0
) -> Iterator[Case]:
    """Any pictures with a box of half their side erased, its centre anywhere in the middle half.

    Args:
        pictures: in the order of their captions.
        captions: one for each picture.
        seed: for the boxes.
    """
    for i, (image, caption) in enumerate(zip(pictures, captions, strict=True)):
        rng = np.random.default_rng((_STREAM, seed, i))
        painted = np.zeros(image.shape[:2], bool)
        corner = [int(rng.integers(side // 2 + 1)) for side in painted.shape]
        y, x = (slice(low, low + n // 2) for low, n in zip(corner, painted.shape, strict=True))
        painted[y, x] = True
        yield Case(image, painted, caption)


def painted(
    glide: Glide,
    cases: Sequence[Case],
    folder: pathlib.Path,
    options: Mapping[str, Any],
    **how: Any,
) -> tuple[list[UInt8[np.ndarray, "h w 3"]], float | None]:
    """Results of all cases, drawn if they are not there, and the median seconds of the drawn.

    Args:
        glide: the model.
        cases: pictures with a part to paint.
        folder: of the results, each a file.
        options: of the call; `upsample` is one of them.
        **how: see `edits.inpainting`.
    """
    results, seconds = [], []
    for i, case in enumerate(tqdm(cases, desc=folder.name, unit=" pictures")):
        path, image = folder / f"{i:04d}.png", Image.fromarray(case.image)
        edit = edits.inpainting(glide.loaded, image, case.mask, upsample=options["upsample"], **how)
        call = {**options, "edit": edit, "first_index": i}
        [expected] = glide.parameters(case.caption, **call)
        if not draws.is_drawn(path, expected):
            began = time.perf_counter()
            [drawn] = glide(case.caption, **call)
            seconds.append(time.perf_counter() - began)
            images.write_png(path, drawn.image, drawn.parameters)
        results.append(np.asarray(images.read(path)))
    return results, float(np.median(seconds)) if seconds else None


def error(case: Case, result: UInt8[np.ndarray, "h w 3"]) -> float:
    """Root mean square distance from what was there, of 255, where it was painted."""
    difference = np.float64(result) - case.image
    return float(np.sqrt(np.square(difference[case.painted]).mean()))


def kept(case: Case, result: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether every pixel outside is the picture's own."""
    return not (result != case.image).any(-1)[~case.painted].any()


def outcome(case: Case, result: UInt8[np.ndarray, "h w 3"]) -> Outcome:
    """Judges a result by its pixels."""
    spec = shapes_judge.parse_caption(case.caption)
    judged = shapes_judge.judge(result)
    height, width = case.painted.shape
    inside = [
        o
        for o in judged.objects
        if case.painted[min(int(o.y * height), height - 1), min(int(o.x * width), width - 1)]
    ]
    one = inside[0] if len(inside) == 1 else None
    colour, shape = (UNKNOWN, UNKNOWN) if one is None else (one.colour, one.shape)
    return Outcome(
        object=(colour, shape) == case.asked,
        colour=colour == case.asked[0],
        shape=shape == case.asked[1],
        whole=shapes_judge.verdict_on(judged, spec).all,
    )


def _box(o: shapes.Object, size: int, margin: float) -> tuple[slice, slice]:
    """Rows and columns of the box around an object, cut off at the picture's edges."""
    half = shapes.REACH * o.radius + margin

    def span(centre: float) -> slice:
        low, high = np.floor((centre - half) * size), np.ceil((centre + half) * size)
        return slice(max(0, int(low)), min(size, int(high)))

    return span(o.y), span(o.x)


def _meet(a: tuple[slice, slice], b: tuple[slice, slice]) -> bool:
    return all(p.start < q.stop and q.start < p.stop for p, q in zip(a, b, strict=True))
