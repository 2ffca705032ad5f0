"""A file of prompts drawn by one process or many: each picture once, whatever is killed when.

The prompts are cut into batches by their number alone, and process k of N draws batches k, k + N,
and so on. A batch and its noise do not depend on which process draws it, or when, so the pictures
are the same bit for bit and no coordination is needed.
"""

import os
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from glide_jax import files
from glide_jax.cli import common, placing, signing
from glide_jax.cli.drawing import Drawing, stem, write_sheet
from glide_jax.cli.progress import progress_bars
from glide_jax.errors import InputError

if TYPE_CHECKING:
    from glide_jax.mesh import hosts
    from glide_jax.sampling.glide import Glide


def draw_share(
    load: Callable[[], "Glide"],
    prompts: Sequence[str],
    drawing: Drawing,
    place: "hosts.Place | None",
) -> None:
    """This process's part of the pictures that are not there yet; the first one makes the sheet.

    Args:
        load: loads the model.
        prompts: those of all processes.
        drawing: the command's options; its folder is shared by all processes.
        place: which process this is; None is alone. Where it has a coordinator or leaves it to JAX,
            the processes also wait for each other, which a slice of TPUs needs before it can be
            used.

    Raises:
        InputError: an option does not go with a file of prompts.
    """
    call = drawing.call
    if call.keep is not None:
        raise InputError(
            f"keep is {call.keep}, but --prompts-file finishes what is there; use one."
        )
    if drawing.at_random and place is not None and place.count != 1:
        raise InputError("--seed random would be another in each process; give a number.")
    if call.batch_size == "auto" and place is not None and place.count != 1:
        raise InputError("--batch-size auto may differ from process to process; give a number.")
    if place is None or (place.coordinator is None and place.count is not None):
        common.make_out(drawing.out)
        share = (0, 1) if place is None else (place.index or 0, place.count or 1)
        _draw(load(), prompts, drawing, share)
        return
    from glide_jax.mesh import hosts
    from glide_jax.version import __version__

    with hosts.join(place, say=common.warn) as run:
        glide = load()
        common.make_out(drawing.out)
        run.agree("the start", {"glide_jax": __version__, "prompts": [*prompts], **drawing.given})
        _draw(glide, prompts, drawing, (run.index, run.count), run.barrier)


def _draw(
    glide: "Glide",
    prompts: Sequence[str],
    drawing: Drawing,
    share: tuple[int, int],
    barrier: Callable[[str], None] = lambda what: None,
) -> None:
    from glide_jax.sampling.call import parse
    from glide_jax.sampling.notes import warn_outside

    call, out, (index, processes) = parse({"number_on": True}, drawing.call), drawing.out, share
    n, size = call.n, glide.largest_batch() if call.batch_size == "auto" else int(call.batch_size)
    expected = glide.parameters(prompts, call, batch_size=size)
    warn_outside(glide.loaded, prompts)  # once, of all
    stems = [stem(i // n, p) for i, p in enumerate(expected)]
    places = [placing.place(out, *pair) for pair in zip(stems, expected, strict=True)]
    paths = [place.path for place in places]
    mine = list(_batches(len(prompts), n, size, share))
    _remove_halves(out, {paths[i].name for k in mine for i in range(k[0] * n, (k[-1] + 1) * n)})
    whole = lambda k: all(place.found == "same" for place in places[k * n : (k + 1) * n])
    todo = {k for batch in mine for k in batch if not whole(k)}
    total = sum(map(len, mine))
    if len(todo) < total:
        said = f"{total - len(todo)} of {total} prompts are drawn already"
        common.say(said + signing.for_new_ones())
    batches = [batch for batch in mine if todo & set(batch)]
    with progress_bars("steps", width=9) as progress:
        for number, batch in enumerate(batches):
            done = lambda stage, i, of, k=number: progress(stage, k * of + i, len(batches) * of)
            drawn = glide.pictures(
                [prompts[k] for k in batch], call, batch_size=size, progress=done,
                first_index=call.first_index + batch[0] * n,
            )  # fmt: skip
            for i, picture in enumerate(drawn, batch[0] * n):
                if i // n in todo:
                    p = picture.parameters
                    image = drawing.marked(picture.image, p)
                    paths[i], _ = placing.write(out, stems[i], image, p, again=True)
                    common.result(paths[i], {"path": paths[i], "parameters": p})
    barrier("the last picture")
    if index == 0 and (todo or processes > 1):
        _sheet(out, paths, expected)


def _batches(prompts: int, n: int, batch_size: int, share: tuple[int, int]) -> Iterator[range]:
    """Ranges of prompts that this process draws: as many as fill a batch with n of each."""
    (index, processes), each = share, max(1, batch_size // n)
    for first in range(index * each, prompts, processes * each):
        yield range(first, min(first + each, prompts))


def _remove_halves(out: pathlib.Path, names: set[str]) -> None:
    """Removes what a killed process left of this one's own pictures; see `files.replacing`."""
    for entry in os.scandir(out):
        found = re.fullmatch(r"\.(.+\.png)\..+\.tmp", entry.name)
        if found and found[1] in names:
            files.remove_left(pathlib.Path(entry.path))


def _sheet(out: pathlib.Path, paths: list[pathlib.Path], expected: list[dict[str, Any]]) -> None:
    if all(path.exists() for path in paths):
        write_sheet(out, [(p, e.get("prompt", "")) for p, e in zip(paths, expected, strict=True)])
    else:
        common.say("other processes still draw; the same command makes the sheet after them")
