"""The shapes judge's verdicts as shares with exact intervals, and the judge's own accuracy."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import UInt8

from glide_jax.data.readers import shapes
from glide_jax.data.transforms import gaussian_blur
from glide_jax.evaluation import shapes_judge
from glide_jax.evaluation.metrics.intervals import Share, share_of
from glide_jax.evaluation.shapes_judge import Verdict

ASPECTS = ("all", "count", "background", "colours", "shapes", "binding", "relation", "size")

Distort = Callable[[UInt8[np.ndarray, "h w 3"], np.random.Generator], np.ndarray]


def tally(verdicts: Iterable[Verdict], groups: Sequence[str]) -> dict[str, dict[str, Share]]:
    """Shares by group and aspect, and of each split ("train/*") and all ("*") together.

    An aspect is counted where the caption states it.
    """
    counts: dict[str, dict[str, list[bool]]] = {}
    for verdict, group in zip(verdicts, groups, strict=True):
        for name in (group, f"{group.split('/')[0]}/*", "*"):
            for aspect in ASPECTS:
                value = getattr(verdict, aspect)
                if value is not None:
                    counts.setdefault(name, {}).setdefault(aspect, []).append(value)
    return {
        group: {aspect: share_of(sum(values), len(values)) for aspect, values in aspects.items()}
        for group, aspects in counts.items()
    }


def _to_uint8(image: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    return np.rint(image).clip(0, 255).astype(np.uint8)


def _noisy(sigma: float) -> Distort:
    return lambda image, rng: _to_uint8(image + rng.normal(0, sigma, image.shape))


def _blurred(sigma: float) -> Distort:
    return lambda image, _: _to_uint8(gaussian_blur(image.astype(np.float32), sigma))


DISTORTIONS: dict[str, Distort] = {
    "clean": lambda image, _: image,
    "noise, sigma 12": _noisy(12),
    "blur, 0.8 pixels": _blurred(0.8),
    "blur, 1.2 pixels": _blurred(1.2),
}


def judge_accuracy(n: int) -> dict[str, Share]:
    """How often the judge accepts true pictures, whole or distorted, and false ones.

    Returns the share of accepted pictures of n scenes under each distortion, and under "another's
    caption" the share of pictures accepted although their caption is another scene's.
    """
    scenes = [shapes.sample_scene(np.random.default_rng((0, i)), split="all") for i in range(n)]
    see = lambda distort: [
        shapes_judge.judge(distort(shapes.render(scene), np.random.default_rng((0, 1, i))))
        for i, scene in enumerate(scenes)
    ]
    seen = {name: see(distort) for name, distort in DISTORTIONS.items()}
    accepted = lambda pairs: [shapes_judge.verdict_on(judged, spec).all for judged, spec in pairs]
    shares = {}
    for name, pictures in seen.items():
        right = accepted(zip(pictures, (scene.spec for scene in scenes), strict=True))
        shares[name] = share_of(sum(right), n)
    others = [scenes[(i + 1) % n].spec for i in range(n)]
    wrong = accepted(
        (judged, other)
        for judged, other, scene in zip(seen["clean"], others, scenes, strict=True)
        if shapes.caption(other) != shapes.caption(scene)
    )
    if wrong:
        shares["another's caption"] = share_of(sum(wrong), len(wrong))
    return shares
