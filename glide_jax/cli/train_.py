"""`glide-jax train`: a run of a config in a working directory."""

import contextlib
import errno
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import click

from glide_jax import checks
from glide_jax.cli import cluster, common, process
from glide_jax.errors import InputError


@click.command("train", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--config", type=common.PLACE, required=True,
              help="The name of a config that comes with glide_jax, such as shapes_64, or the path "
              "of a file of yours, which is code and runs; :smoke after it is a size of "
              "seconds.")  # fmt: skip
@click.option(
    "--workdir", required=True, type=common.PATH,
    help="Folder of this run alone; a run in it is resumed.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Compile, tell memory and arithmetic, and exit.")
@common.device_option
@cluster.options
@click.pass_context
def command(
    ctx: click.Context,
    config: str,
    workdir: pathlib.Path,
    dry_run: bool,
    device: str | None,
    **others: str | None,
) -> None:
    """Train a model: `glide-jax train --config configs/shapes_64.py --workdir runs/shapes`.

    Any field of the config can be given, as --config.optim.lr=3e-4. A run that was stopped goes on
    where it was; the sheets of samples are in WORKDIR/samples, the model in WORKDIR/model.

    On many hosts the same command runs on each, with a WORKDIR that all of them see.
    """
    start(config, overrides(ctx.args), workdir, dry_run=dry_run, device=device, others=others)


def overrides(words: list[str]) -> list[str]:
    """--config.a.b=value and --config.a.b value, as "a.b=value"."""
    found, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--config."):
            kind = "option" if word.startswith("-") else "argument"
            raise click.UsageError(
                f"there is no {kind} {word!r}; fields are given as --config.section.field=value."
            )
        if "=" not in word:
            if not rest:
                raise click.UsageError(f"{word} has no value; write {word}=value.")
            word = f"{word}={rest.pop(0)}"
        found.append(word.removeprefix("--config."))
    return found


@contextlib.contextmanager
def _room_for(workdir: pathlib.Path) -> Iterator[None]:
    """Adds the way out to the error of a full disk, which ends a run but loses nothing."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(
            f"{checks.shown(str(error.filename or workdir), 200)}: {error.strerror}; make room, "
            "and the same command goes on from the newest checkpoint."
        ) from None


def start(
    config: str,
    changes: list[str],
    workdir: pathlib.Path,
    *,
    dry_run: bool = False,
    device: str | None = None,
    model: tuple[str, str] | None = None,
    others: dict[str, Any],
) -> None:
    """Reads the config and trains.

    Args:
        config: a file's path or name, perhaps with ":size".
        changes: "section.field=value".
        workdir: belongs to this run alone.
        dry_run: compile and report only.
        device: see `common.choose_device`.
        model: a directory or name, and the stage to go on from.
        others: the options of `cluster.options`, by name.
    """
    place = cluster.place(**others)
    from glide_jax import compiling
    from glide_jax.mesh import hosts
    from glide_jax.model_dir import reading
    from glide_jax.training import rounds, session
    from glide_jax.training.adopting import Start
    from glide_jax.training.config import shared_facts

    cache = common.cache_folder()
    stage = Start(reading.find_model(model[0], cache / "models"), model[1]) if model else None
    runs = rounds.runs(config, changes, stage, workdir, common.say, finished=dry_run)
    first = next(runs, None)  # before anything starts, since it may be refused
    if first is None:
        return
    with hosts.join(place, say=common.warn) as run:
        description = common.choose_device(device)
        say = common.say if run.leads else lambda text: None
        say(f"device: {description}")
        compiling.enable_cache(cache / "xla")
        process.nothing_at_stake()  # a first signal in the loop is the session's
        for read, folder in itertools.chain([first], runs):
            if run.leads:
                common.check_out(folder, "--workdir")
            run.agree("the start", shared_facts(read))
            with _room_for(folder):
                done = session.train(read, folder, say=say, dry_run=dry_run, cache=cache, hosts=run)
            if dry_run or not done:
                break
    if run.count > 1 and not done:  # the launcher of all processes is to start them again
        raise click.exceptions.Exit(hosts.LOST)
