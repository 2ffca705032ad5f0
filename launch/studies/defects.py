"""Planted defects: what a metric is worth is how it moves when pictures get worse on purpose."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from glide_jax.data.transforms import gaussian_blur

Pictures = UInt8[np.ndarray, "n s s 3"]


@dataclasses.dataclass(frozen=True)
class Defect:
    """A defect as functions of pictures and of their captions, either of which may do nothing."""

    name: str
    spoil: Callable[[Any], Any] = lambda pictures: pictures
    mislabel: Callable[[Sequence[str]], list[str]] = list


def swapped(captions: Sequence[str]) -> list[str]:
    """Each picture with the caption of the one half the set away."""
    half = len(captions) // 2
    return [*captions[half:], *captions[:half]]


def blurred(pictures: Pictures, sigma: float = 1.0) -> Pictures:
    """By a Gaussian of `sigma` pixels."""
    blur = lambda x: gaussian_blur(x.astype(np.float32), sigma)
    return np.stack([np.rint(blur(x)).clip(0, 255).astype(np.uint8) for x in pictures])


def duplicated(pictures: Pictures, kept: float = 0.1) -> Pictures:
    """The first part of the set over and over: modes are missing, single pictures are sound."""
    return pictures[_first(len(pictures), kept)]


def repeated(captions: Sequence[str], kept: float = 0.1) -> list[str]:
    """The captions of `duplicated` pictures."""
    own = list(captions)
    return [own[i] for i in _first(len(own), kept).tolist()]


def _first(n: int, kept: float) -> np.ndarray:
    return np.arange(n) % max(1, int(n * kept))


def resized_wrongly(pictures: Pictures) -> Pictures:
    """To half and back by the nearest pixel, as libraries without antialiasing do."""
    side = pictures.shape[1]
    small = side // 2

    def resize(x: np.ndarray) -> np.ndarray:
        image = Image.fromarray(x).resize((small, small), Image.Resampling.NEAREST)
        return np.asarray(image.resize((side, side), Image.Resampling.NEAREST))

    return np.stack([resize(x) for x in pictures])


DEFECTS = (
    Defect("none"),
    Defect("captions swapped", mislabel=swapped),
    Defect("blur, sigma 1 pixel", spoil=blurred),
    Defect("a tenth, ten times", spoil=duplicated, mislabel=repeated),
    Defect("half size by nearest pixel", spoil=resized_wrongly),
)
