"""How much pictures of one caption differ in the aspects that the caption leaves open.

The shapes judge reads where each object is, how large and of which shade. The spread of those
readings among pictures of the same caption is divided by that among true scenes of it: 1 is as
varied as the data, 0 is always the same picture. Only pictures with the right number and colours
count: others differ because they are wrong, which is no diversity.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from glide_jax.data.readers import shapes
from glide_jax.evaluation import shapes_judge

ASPECTS = {"position": slice(0, 2), "extent": slice(2, 3), "colour": slice(3, 6)}
TRUE_SCENES = 16  # drawn for each caption
_STREAM = 2**31 + 1  # a stream of random numbers apart from those of training and of protocols
_RESAMPLES = 1000

Reading = Float[np.ndarray, "objects 6"]


def read_objects(picture: UInt8[np.ndarray, "h w 3"], caption: str) -> Reading | None:
    """x, y, extent and colour of each object in [0, 1]; None if number or colours are wrong.

    Objects are in the order of their colours' names, those of one colour from left to right, so
    that pictures of one caption can be compared object by object.
    """
    seen = shapes_judge.judge(picture)
    verdict = shapes_judge.verdict_on(seen, shapes_judge.parse_caption(caption))
    if not (verdict.count and verdict.colours):
        return None
    objects = sorted(seen.objects, key=lambda o: (o.colour, o.x))
    values = [(o.x, o.y, o.extent / 64, *(level / 255 for level in o.rgb)) for o in objects]
    return np.array(values, np.float64)


def measure_spread(
    pictures: Iterable[UInt8[np.ndarray, "h w 3"]], captions: Sequence[str]
) -> dict[str, Any]:
    """The spread of each aspect within captions, relative to true scenes, with 95% intervals.

    Variances are unbiased and pooled over the captions with two pictures or more that count; true
    ones are weighted alike. Intervals are the quantiles over captions drawn with replacement.

    Args:
        pictures: in the order of their captions.
        captions: one for each picture; some of them are the same.

    Returns:
        The numbers of "pictures" and "captions" that count, and "spread": ratio, low and high for
        each of ASPECTS, or nothing where no caption counts.
    """
    readings: dict[str, list[Reading]] = {}
    for picture, caption in zip(pictures, captions, strict=True):
        values = read_objects(picture, caption)
        if values is not None:
            readings.setdefault(caption, []).append(values)
    kept = {caption: np.stack(values) for caption, values in readings.items() if len(values) > 1}
    spread = {}
    if kept:
        freedom = np.array([len(values) - 1 for values in kept.values()])
        ours = np.stack([variances(values) for values in kept.values()])
        true = np.stack([_true_variances(caption) for caption in kept])
        rng = np.random.default_rng(0)
        drawn = rng.integers(len(kept), size=(_RESAMPLES, len(kept)))
        ratio = lambda rows: np.sqrt(
            (freedom[rows, None] * ours[rows]).sum(-2) / (freedom[rows, None] * true[rows]).sum(-2)
        )
        low, high = np.quantile(ratio(drawn), (0.025, 0.975), axis=0)
        for k, (aspect, value) in enumerate(zip(ASPECTS, ratio(np.arange(len(kept))), strict=True)):
            spread[aspect] = dict(ratio=float(value), low=float(low[k]), high=float(high[k]))
    pictures_kept = sum(map(len, kept.values()))
    return {"pictures": pictures_kept, "captions": len(kept), "spread": spread}


def variances(readings: Float[np.ndarray, "n objects 6"]) -> Float[np.ndarray, " 3"]:
    """The unbiased variance of each aspect, the mean over its numbers and the objects."""
    by_number = readings.var(axis=0, ddof=1).mean(axis=0)
    return np.array([by_number[numbers].mean() for numbers in ASPECTS.values()])


@functools.cache
def _true_variances(caption: str) -> Float[np.ndarray, " 3"]:
    spec, readings = shapes_judge.parse_caption(caption), []
    for i in range(TRUE_SCENES):
        scene = shapes.scene_of(spec, np.random.default_rng((_STREAM, i)))
        readings.append(read_objects(shapes.render(scene), caption))
    return variances(np.stack([values for values in readings if values is not None]))
