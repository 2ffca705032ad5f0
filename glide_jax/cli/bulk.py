"""A file of prompts drawn by one process or many: each picture once, whatever is killed when.

The prompts are cut into batches by their number alone, and process k of N draws batches k, k + N,
and so on. Whoever draws a batch, and whenever, draws it in the same company and with the same
noise, so the pictures are the same bit for bit; nobody needs to ask anybody.
"""

import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from glide_jax.cli import common
from glide_jax.errors import InputError


def draw(
    make: Callable[[], Any],
    prompts: list[str],
    out: pathlib.Path,
    n: str,
    options: dict[str, Any],
    place: Any,
) -> None:
    """This process's part of the pictures that are not there yet; the first one makes the sheet.

    Args:
        make: loads the model.
        prompts: the prompts of all processes.
        out: the folder of all processes.
        n: number of pictures for each prompt.
        options: options of `Glide.pictures`.
        place: None or a `hosts.Place`, which says which process this is. Where it has a
            coordinator or leaves it to JAX, the processes also wait for each other, which a slice
            of TPUs needs before it can be used.
    """
    if place is None or (place.coordinator is None and place.count is not None):
        common.make_out(out)
        share = (0, 1) if place is None else (place.index, place.count)
        _draw(make(), prompts, out, n, options, share)
        return
    from glide_jax.mesh import hosts
    from glide_jax.version import __version__

    with hosts.join(place, say=common.say) as run:
        glide = make()
        common.make_out(out)
        asked = {name: value for name, value in options.items() if value is not None}
        run.agree("the start", {"glide_jax": __version__, "prompts": prompts, "n": n, **asked})
        _draw(glide, prompts, out, n, options, (run.index, run.count), run.barrier)


def _draw(
    glide: Any,
    prompts: list[str],
    out: pathlib.Path,
    n: str,
    options: dict[str, Any],
    share: tuple[int, int],
    barrier: Callable[[str], None] = lambda what: None,
) -> None:
    from glide_jax import checks, images
    from glide_jax.cli import sample_

    index, processes = share
    count = checks.whole("n", n, 1, 1_000_000)
    if options.get("keep"):
        raise InputError(
            f"keep is {options['keep']}, but --prompts-file finishes what is there; use one."
        )
    if options["batch_size"] == "auto":
        if processes > 1:
            raise InputError("--batch-size auto may differ from process to process; give a number.")
        options = options | {"batch_size": str(glide.largest_batch())}
    options = options | {"number_on": True}
    expected = glide.parameters(prompts, n=count, **options)
    paths = [out / sample_.file_name(i // count, p) for i, p in enumerate(expected)]
    mine = list(_batches(len(prompts), count, int(options["batch_size"]), share))
    _remove_halves(out, {paths[i].name for k in mine for i in range(k[0] * count, k[-1] * count)})
    whole = lambda k: all(
        images.drawn_alike(images.read_parameters(paths[i]), expected[i])
        for i in range(k * count, (k + 1) * count)
    )
    todo = {k for batch in mine for k in batch if not whole(k)}
    total = sum(map(len, mine))
    if len(todo) < total:
        common.say(f"{total - len(todo)} of {total} prompts are drawn already")
    batches = [batch for batch in mine if todo & set(batch)]
    with common.progress_bars() as progress:
        for number, batch in enumerate(batches):
            first = int(options["first_index"]) + batch[0] * count
            done = lambda stage, i, of, k=number: progress(stage, k * of + i, len(batches) * of)
            drawn = glide.pictures(
                [prompts[k] for k in batch],
                n=count,
                progress=done,
                **options | {"first_index": first},
            )
            for i, picture in enumerate(drawn, batch[0] * count):
                if i // count in todo:
                    images.write_png(paths[i], picture.image, picture.parameters)
                    common.result(paths[i])
    barrier("the last picture")
    shared = processes > 1 and not (out / "sheet.png").exists()
    if index == 0 and (todo or shared):
        _sheet(out, paths, expected)


def _batches(prompts: int, n: int, batch_size: int, share: tuple[int, int]) -> Iterator[range]:
    """Ranges of prompts that this process draws: as many as fill a batch with n of each."""
    (index, processes), each = share, max(1, batch_size // n)
    for first in range(index * each, prompts, processes * each):
        yield range(first, min(first + each, prompts))


def _remove_halves(out: pathlib.Path, names: set[str]) -> None:
    """Removes half-written files of this process's pictures; see `files.replacing`."""
    for entry in os.scandir(out):
        found = re.fullmatch(r"\.(.+\.png)\..+\.tmp", entry.name)
        if found and found[1] in names:
            os.unlink(entry.path)


def _sheet(out: pathlib.Path, paths: list[pathlib.Path], expected: list[dict]) -> None:
    from glide_jax.cli import sample_

    if all(path.exists() for path in paths):
        sample_.write_sheet(out, [(p, e["prompt"]) for p, e in zip(paths, expected, strict=True)])
    else:
        common.say("other processes still draw; the same command makes the sheet after them")
