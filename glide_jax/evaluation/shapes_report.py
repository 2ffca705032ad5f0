"""The shapes judge's findings as counts with exact intervals, and how far the judge is right."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from glide_jax.data.readers import shapes
from glide_jax.data.transforms import gaussian_blur
from glide_jax.evaluation import metrics, shapes_judge
from glide_jax.evaluation.shapes_judge import Verdict

ASPECTS = ("all", "count", "background", "colours", "shapes", "binding", "relation", "size")
CHANCE = {"count": 1 / 4, "background": 1 / 3, "relation": 1 / 4, "size": 1 / 2}  # of one object

Share = dict[str, Any]  # right, n, share, low, high


def share(right: int, n: int) -> Share:
    """A count with its proportion and its exact 95% interval."""
    low, high = metrics.binomial_interval(right, n)
    return {"right": right, "n": n, "share": right / n, "low": low, "high": high}


def percent(share: Share, digits: int = 1) -> str:
    """A share with its interval, to be read."""
    show = lambda name: f"{100 * share[name]:.{digits}f}"
    return f"{show('share')} ({show('low')} to {show('high')})"


def tally(verdicts: Iterable[Verdict], groups: Sequence[str]) -> dict[str, dict[str, Share]]:
    """Counts by group and aspect, and of each split ("train/*") and all ("*") together.

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
        group: {aspect: share(sum(values), len(values)) for aspect, values in aspects.items()}
        for group, aspects in counts.items()
    }


def _noisy(sigma: float) -> Callable[..., UInt8[np.ndarray, "h w 3"]]:
    add = lambda image, rng: image + rng.normal(0, sigma, image.shape)
    return lambda image, rng: np.rint(add(image, rng)).clip(0, 255).astype(np.uint8)


def _blurred(sigma: float) -> Callable[..., UInt8[np.ndarray, "h w 3"]]:
    blur = lambda image: gaussian_blur(image.astype(np.float32), sigma)
    return lambda image, _: np.rint(blur(image)).clip(0, 255).astype(np.uint8)


DISTORTIONS: dict[str, Callable[..., UInt8[np.ndarray, "h w 3"]]] = {
    "clean": lambda image, _: image,
    "noise, sigma 12": _noisy(12),
    "blur, 0.8 pixels": _blurred(0.8),
    "blur, 1.2 pixels": _blurred(1.2),
}


def judge_accuracy(n: int, *, seed: int = 0) -> dict[str, Share]:
    """How often the judge accepts true pictures, whole or distorted, and false ones.

    Args:
        n: scenes; each is judged once under every distortion, and on another scene's caption.
        seed: of the scenes.

    Returns:
        Shares: of accepted pictures under each distortion, and "another's caption", of pictures
        accepted although their caption is another scene's.
    """
    scenes = [shapes.sample_scene(np.random.default_rng((seed, i)), split="all") for i in range(n)]
    found = {}
    for name, distort in DISTORTIONS.items():
        seen = [
            shapes_judge.judge(distort(shapes.render(scene), np.random.default_rng((seed, 1, i))))
            for i, scene in enumerate(scenes)
        ]
        right = [
            shapes_judge.compare(s, scene.spec).all for s, scene in zip(seen, scenes, strict=True)
        ]
        found[name] = share(sum(right), n)
        if name == "clean":
            clean = seen
    others = [scenes[(i + 1) % n].spec for i in range(n)]
    pairs = [
        (s, other)
        for s, other, scene in zip(clean, others, scenes, strict=True)
        if shapes.caption(other) != shapes.caption(scene)
    ]
    if pairs:
        wrong = sum(shapes_judge.compare(s, other).all for s, other in pairs)
        found["another's caption"] = share(wrong, len(pairs))
    return found
