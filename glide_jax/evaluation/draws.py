"""Pictures of a protocol's prompts, one file each, drawn in any number of sittings."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from glide_jax import checks, contact_sheets, images
from glide_jax.errors import InputError
from glide_jax.files import read_object
from glide_jax.sampling.glide import Glide

FOLDER = "samples"


def path_of(folder: pathlib.Path, i: int) -> pathlib.Path:
    """The file of picture i of a run; a thousand share a folder."""
    return folder / FOLDER / f"{i // 1000:03d}" / f"{i:06d}.png"


def draw_missing(
    glide: Glide,
    prompts: Sequence[str],
    folder: pathlib.Path,
    options: dict[str, Any],
    *,
    batch_size: int,
    part: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Draws the pictures that are not there yet; picture i shows prompt i and has index i.

    A picture is there if its file holds the parameters it would be drawn with, and files are
    whole or absent, so a run may be stopped at any moment. Batches are cut at multiples of
    `batch_size` whatever is missing: no picture depends on where a run stopped.

    Args:
        glide: the model.
        prompts: all prompts of the protocol.
        folder: the run's folder.
        options: sampling options other than n, first_index and batch_size.
        batch_size: pictures at once.
        part: (this machine's number, number of machines): each draws every k-th batch.
        progress: called with the pictures done and the number of all.
    """
    n, (mine, parts) = len(prompts), part
    for batch in range(mine, -(-n // batch_size), parts):
        start = batch * batch_size
        end = min(n, start + batch_size)
        # The last batch is filled up with its last prompt, so that all batches are equally large.
        texts = [prompts[min(i, n - 1)] for i in range(start, start + batch_size)]
        settings = {**options, "first_index": start, "number_on": True, "batch_size": batch_size}
        expected = glide.parameters(texts, **settings)[: end - start]
        paths = [path_of(folder, i) for i in range(start, end)]
        there = [is_drawn(p, e) for p, e in zip(paths, expected, strict=True)]
        if not all(there):
            drawn = glide.pictures(texts, **settings)
            for path, whole, picture in zip(paths, there, drawn, strict=False):
                if not whole:
                    images.write_png(path, picture.image, picture.parameters)
        progress(end, n)


def is_drawn(path: pathlib.Path, expected: dict[str, Any]) -> bool:
    """Whether a file holds the expected parameters; the model's folder may have moved."""
    parameters = images.read_parameters(path)
    moved = {"model_path": None}
    return parameters is not None and {**parameters, **moved} == {**expected, **moved}


def read_drawn(folder: pathlib.Path, n: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The pixels of all n pictures of a run, in order.

    Raises:
        InputError: one is missing or damaged.
    """
    for i in range(n):
        picture = images.read(path_of(folder, i))
        if picture.mode != "RGB":
            raise InputError(f"{str(path_of(folder, i))!r} is {picture.mode}; it must be RGB.")
        yield np.asarray(picture)


def finished_result(run: pathlib.Path) -> dict[str, Any]:
    """The result of a finished run, with "n" as an int.

    Raises:
        InputError: the folder is no finished run.
    """
    try:
        result = read_object(run / "result.json")
        n = checks.whole("n", result["n"], 1, 10_000_000)
        return {**result, "n": n, "prompts_sha256": result["prompts_sha256"]}
    except (ValueError, KeyError):
        raise InputError(
            f"{str(run)!r} is no finished run of `glide-jax eval`; give a folder that it has made "
            "in its --out, such as runs/eval/w3."
        ) from None


def write_contact_sheet(
    folder: pathlib.Path, prompts: Sequence[str], chosen: list[int], columns: int | None = None
) -> None:
    """Writes sheet.png, which shows some pictures of a run over their prompts.

    Args:
        folder: the run's folder.
        prompts: all prompts of the run.
        chosen: numbers of the pictures that are shown.
        columns: pictures in a row; about as many as rows by default.
    """
    pictures = [images.read(path_of(folder, i)) for i in chosen]
    captions = [prompts[i] for i in chosen]
    sheet = contact_sheets.contact_sheet(pictures, captions, side=128, columns=columns)
    images.write_png(folder / "sheet.png", sheet, {"contact_sheet_of": chosen})
