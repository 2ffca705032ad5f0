"""`glide-jax download`: the released checkpoints."""

import functools
import pathlib

import click

from glide_jax.cli import common
from glide_jax.cli.progress import progress_bars
from glide_jax.errors import InputError


@click.command("download")
@click.argument("names", nargs=-1)
@click.option(
    "--folder", type=common.PATH, default=None,
    help="Where to put the files; by default the cache's checkpoints folder.",
)  # fmt: skip
@click.option("--sha256", default=None, help="Refuse a file with another hash (one NAME only).")
def command(names: tuple[str, ...], folder: pathlib.Path | None, sha256: str | None) -> None:
    """Fetch released checkpoints by NAMES; without a name, list them.

    A broken connection resumes. `glide-jax import` turns what arrived into a model.
    """
    from glide_jax.checkpoints import released

    if sha256 is not None and len(names) != 1:
        raise InputError(f"--sha256 is for one name, but there are {len(names)}; give one name.")
    if not names:
        for name in released.RELEASED:
            common.result(name)
        return
    for name in names:
        released.check_name(name)
    folder = folder or common.checkpoints_folder()
    for name in names:
        with progress_bars("B") as progress:
            report = functools.partial(progress, name)
            path = released.fetch_released(name, folder, sha256=sha256, progress=report)
        common.result(path)
