"""Whether drawn pictures are copies: the nearest training picture of each in feature space."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from glide_jax import images
from glide_jax.data.example import Rejected, Source
from glide_jax.data.transforms import center_crop
from glide_jax.evaluation import metrics


class Neighbours(NamedTuple):
    """The nearest training picture of each drawn one, and how near training pictures are."""

    index: Int[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]
    usual: Float[np.ndarray, " m"]  # of each training picture to the nearest other one

    @property
    def closest_first(self) -> list[int]:
        """Drawn pictures, the likeliest copies first."""
        return np.argsort(self.distance, kind="stable").tolist()

    def summary(self) -> dict[str, Any]:
        """How many drawn pictures are nearer to a training picture than those are to others.

        Training pictures' own distances are what makes a distance small or large: 1% of a model's
        pictures below their first percentile, or half below their median, is no sign of copying.
        """
        first, median = np.percentile(self.usual, (1, 50))
        return {
            "n": len(self.index),
            "n_training": len(self.usual),
            "median_distance": float(np.median(self.distance)),
            "training_median_distance": float(median),
            "below_training_first_percentile": float((self.distance < first).mean()),
            "below_training_median": float((self.distance < median).mean()),
            "exact": int((self.distance <= 1e-3 * median).sum()),
        }


def neighbours(drawn: Float[np.ndarray, "n d"], training: Float[np.ndarray, "m d"]) -> Neighbours:
    """Each drawn picture's nearest training picture, by Euclidean distance of features.

    Raises:
        InputError: there are fewer than two training pictures.
    """
    index, distance = metrics.nearest(drawn, training)
    _, own = metrics.nearest(training, training, k=2)
    # The nearest of a training picture is itself; of exact twins it is the other, as near.
    return Neighbours(index[:, 0], distance[:, 0], own[:, 1])


def usable(source: Source, side: int, most: int) -> Iterator[tuple[int, np.ndarray]]:
    """Numbers and middle squares of a source's pictures, evenly over it if it has more."""
    chosen = np.linspace(0, len(source) - 1, min(most, len(source))).round().astype(int)
    for i in chosen.tolist():
        try:
            yield i, center_crop(source[i].image, side)
        except Rejected:
            continue


def sheet(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], distances: Sequence[float]
) -> Image.Image:
    """Drawn pictures, each beside its nearest training picture."""
    beside = [Image.fromarray(np.concatenate(two, axis=1)) for two in pairs]
    square = [_squared(image) for image in beside]
    captions = [f"drawn | training, {distance:.3g}" for distance in distances]
    return images.contact_sheet(square, captions)


def _squared(image: Image.Image) -> Image.Image:
    wide = Image.new("RGB", (image.width, image.width), "white")
    wide.paste(image, (0, (image.width - image.height) // 2))
    return wide
