"""How much pictures of one caption differ in what the caption leaves open.

A judge reads where each object is, how large and of which shade. The spread of those readings
among pictures of the same caption is divided by that among true scenes of it: 1 is as varied as
the data, 0 is always the same picture. Only pictures with the right number and colours count:
others differ because they are wrong, which is no diversity.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from glide_jax.data.readers import shapes
from glide_jax.evaluation import shapes_judge

ASPECTS = {"position": slice(0, 2), "extent": slice(2, 3), "colour": slice(3, 6)}
TRUE_SCENES = 16  # of each caption
_STREAM = 2**31 + 1  # of random numbers, apart from those of training and of protocols
_RESAMPLES = 1000

Reading = Float[np.ndarray, "objects 6"]


def reading(picture: UInt8[np.ndarray, "h w 3"], caption: str) -> Reading | None:
    """x, y, extent and colour of each object in [0, 1]; None if number or colours are wrong.

    Objects are in the order of their colours' names, those of one colour from left to right, so
    that pictures of one caption can be compared object by object.
    """
    seen = shapes_judge.judge(picture)
    verdict = shapes_judge.compare(seen, shapes_judge.spec_of(caption))
    if not (verdict.count and verdict.colours):
        return None
    objects = sorted(seen.objects, key=lambda o: (o.colour, o.x))
    values = [(o.x, o.y, o.extent / 64, *(level / 255 for level in o.rgb)) for o in objects]
    return np.array(values, np.float64)


def measure(
    pictures: Iterable[UInt8[np.ndarray, "h w 3"]], captions: Sequence[str], *, seed: int = 0
) -> dict[str, Any]:
    """The spread of each aspect within captions, relative to true scenes, with 95% intervals.

    Variances are unbiased and pooled over the captions with two pictures or more that count; true
    ones are weighted alike. Intervals are the quantiles over captions drawn with replacement.

    Args:
        pictures: in order.
        captions: of each; some of them the same.
        seed: of the resampling.

    Returns:
        "pictures" and "captions" that count, and "spread": of each of ASPECTS the ratio, low and
        high, or nothing where no caption counts.
    """
    found: dict[str, list[Reading]] = {}
    for picture, caption in zip(pictures, captions, strict=True):
        values = reading(picture, caption)
        if values is not None:
            found.setdefault(caption, []).append(values)
    kept = {caption: np.stack(values) for caption, values in found.items() if len(values) > 1}
    result: dict[str, Any] = {
        "pictures": sum(map(len, kept.values())),
        "captions": len(kept),
        "spread": {},
    }
    if kept:
        freedom = np.array([len(values) - 1 for values in kept.values()])
        ours = np.stack([variance(values) for values in kept.values()])
        true = np.stack([_of_true_scenes(caption) for caption in kept])
        rng = np.random.default_rng(seed)
        drawn = rng.integers(len(kept), size=(_RESAMPLES, len(kept)))
        ratio = lambda rows: np.sqrt(
            (freedom[rows, None] * ours[rows]).sum(-2) / (freedom[rows, None] * true[rows]).sum(-2)
        )
        low, high = np.quantile(ratio(drawn), (0.025, 0.975), axis=0)
        for k, (aspect, value) in enumerate(zip(ASPECTS, ratio(np.arange(len(kept))), strict=True)):
            numbers = dict(ratio=value, low=low[k], high=high[k])
            result["spread"][aspect] = {name: float(number) for name, number in numbers.items()}
    return result


def variance(readings: Float[np.ndarray, "n objects 6"]) -> Float[np.ndarray, " 3"]:
    """The unbiased variance of each aspect, the mean over its numbers and the objects."""
    by_number = readings.var(axis=0, ddof=1).mean(axis=0)
    return np.array([by_number[numbers].mean() for numbers in ASPECTS.values()])


@functools.cache
def _of_true_scenes(caption: str) -> Float[np.ndarray, " 3"]:
    spec, readings = shapes_judge.spec_of(caption), []
    for i in range(TRUE_SCENES):
        scene = shapes.scene_of(spec, np.random.default_rng((_STREAM, i)))
        readings.append(reading(shapes.render(scene), caption))
    return variance(np.stack([values for values in readings if values is not None]))
