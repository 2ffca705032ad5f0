"""Pictures of a protocol's prompts, one file each, drawn in any number of sittings."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from glide_jax import images
from glide_jax.errors import InputError

FOLDER = "samples"
# Parameters of a picture that are no part of how a run is sampled.
ELSEWHERE = ("prompt", "index", "model_path")


class Drawer(Protocol):
    """What a loaded model can do: `glide_jax.sampling.glide.Glide`."""

    def parameters(self, prompts: Sequence[str], **options: Any) -> list[dict[str, Any]]: ...

    def pictures(self, prompts: Sequence[str], **options: Any) -> Iterator[Any]: ...


def path_of(folder: pathlib.Path, i: int) -> pathlib.Path:
    """Where picture i of a run lies; a thousand share a folder."""
    return folder / FOLDER / f"{i // 1000:03d}" / f"{i:06d}.png"


def draw(
    drawer: Drawer,
    prompts: Sequence[str],
    folder: pathlib.Path,
    options: dict[str, Any],
    *,
    batch_size: int,
    part: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Draws what is not there yet; picture i is of prompt i, with the number i of the seed.

    A picture is there if its file holds the parameters it would be drawn with, and files are
    whole or absent, so a run may be stopped at any moment. Batches are cut at multiples of
    `batch_size` whatever is missing: what is drawn does not depend on where a run stopped.

    Args:
        drawer: the model.
        prompts: all of the protocol's.
        folder: of the run.
        options: of sampling; neither n, first_index nor batch_size.
        batch_size: pictures at once.
        part: (this machine's number, how many share the work): each takes every k-th batch.
        progress: told pictures done and in all.
    """
    n, (mine, parts) = len(prompts), part
    for batch in range(mine, -(-n // batch_size), parts):
        start = batch * batch_size
        end = min(n, start + batch_size)
        # The last batch is filled up with its last prompt: as large as all others.
        texts = [prompts[min(i, n - 1)] for i in range(start, start + batch_size)]
        how = {**options, "first_index": start, "number_on": True, "batch_size": batch_size}
        expected = drawer.parameters(texts, **how)[: end - start]
        paths = [path_of(folder, i) for i in range(start, end)]
        there = [is_there(p, e) for p, e in zip(paths, expected, strict=True)]
        if not all(there):
            drawn = drawer.pictures(texts, **how)
            for path, whole, picture in zip(paths, there, drawn, strict=False):
                if not whole:
                    images.write_png(path, picture.image, picture.parameters)
        progress(end, n)


def is_there(path: pathlib.Path, expected: dict[str, Any]) -> bool:
    """Whether a picture was drawn as now asked for; a model's folder may have moved."""
    found = images.read_parameters(path)
    where = {"model_path": None}
    return found is not None and {**found, **where} == {**expected, **where}


def count(folder: pathlib.Path, n: int) -> int:
    """How many of the n pictures of a run are there."""
    return sum(path_of(folder, i).exists() for i in range(n))


def read(folder: pathlib.Path, n: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The pixels of all n pictures, in order.

    Raises:
        InputError: one is missing or damaged.
    """
    for i in range(n):
        picture = images.read(path_of(folder, i))
        if picture.mode != "RGB":
            raise InputError(f"{str(path_of(folder, i))!r} is {picture.mode}; it must be RGB.")
        yield np.asarray(picture)
