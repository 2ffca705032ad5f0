"""Whether drawn pictures are copies: the nearest training picture of each in feature space."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from glide_jax import contact_sheets
from glide_jax.data.example import Rejected, Source
from glide_jax.data.transforms import center_crop
from glide_jax.evaluation import draws
from glide_jax.evaluation.features.extractor import Features, collect, extract
from glide_jax.evaluation.metrics.manifold import nearest_neighbours


class Neighbours(NamedTuple):
    """The nearest training picture of each drawn one, and how near training pictures are."""

    index: Int[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]
    usual: Float[np.ndarray, " m"]  # distance of each training picture to the nearest other one

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


def find_neighbours(
    drawn: Float[np.ndarray, "n d"], training: Float[np.ndarray, "m d"]
) -> Neighbours:
    """Each drawn picture's nearest training picture, by Euclidean distance of features.

    Raises:
        InputError: there are fewer than two training pictures.
    """
    index, distance = nearest_neighbours(drawn, training)
    _, own = nearest_neighbours(training, training, k=2)
    # The nearest of a training picture is itself; of exact twins it is the other, as near.
    return Neighbours(index[:, 0], distance[:, 0], own[:, 1])


def usable_pictures(source: Source, side: int, most: int) -> Iterator[tuple[int, np.ndarray]]:
    """Numbers and middle squares of a source's pictures that can be used.

    Args:
        source: training pictures.
        side: pixels a side of the squares.
        most: pictures tried, at even distances if the source has more.
    """
    chosen = np.linspace(0, len(source) - 1, min(most, len(source))).round().astype(int)
    for i in chosen.tolist():
        try:
            yield i, center_crop(source[i].image, side)
        except Rejected:
            continue


def compare_run(
    run: pathlib.Path,
    source: Source,
    extractor: Features,
    *,
    most: int,
    pairs: int,
    progress: Callable[[str, int, int], None],
) -> tuple[dict[str, Any], Image.Image, list[int]]:
    """Finds the nearest training picture of each of a run's pictures.

    Args:
        run: the folder of a finished run.
        source: training pictures.
        extractor: its pooled features are compared.
        most: training pictures looked at.
        pairs: closest pairs on the sheet.
        progress: called after every training picture.

    Returns:
        The summary for JSON, the sheet of the closest pairs, and the drawn pictures on it.

    Raises:
        InputError: the run is not finished.
    """
    drawn = list(draws.read_drawn(run, draws.finished_result(run)["n"]))
    side, numbers = drawn[0].shape[0], []

    def training() -> Iterator[np.ndarray]:
        for i, picture in usable_pictures(source, side, most):
            numbers.append(i)
            progress("training", len(numbers), min(most, len(source)))
            yield picture

    known = collect(extract(extractor, training())).pool
    near = find_neighbours(collect(extract(extractor, drawn)).pool, known)
    nearest = [numbers[i] for i in near.index.tolist()]
    summary = {
        **near.summary(),
        "extractor": {"name": extractor.name, "sha256": extractor.sha256},
        "nearest": nearest,
        "distances": near.distance.tolist(),
    }
    closest = near.closest_first[:pairs]
    copies = [center_crop(source[nearest[i]].image, side) for i in closest]
    beside = [(drawn[i], copy) for i, copy in zip(closest, copies, strict=True)]
    return summary, pairs_sheet(beside, near.distance[closest].tolist()), closest


def pairs_sheet(
    pairs: Sequence[tuple[UInt8[np.ndarray, "s s 3"], UInt8[np.ndarray, "s s 3"]]],
    distances: Sequence[float],
) -> Image.Image:
    """Drawn pictures, each beside its nearest training picture."""
    squares = [_square(Image.fromarray(np.concatenate(two, axis=1))) for two in pairs]
    return contact_sheets.contact_sheet(squares, [f"drawn | training, {d:.3g}" for d in distances])


def _square(wide: Image.Image) -> Image.Image:
    square = Image.new("RGB", (wide.width, wide.width), "white")
    square.paste(wide, (0, (wide.width - wide.height) // 2))
    return square
