"""The runs of one command: one, or a distillation's rounds, each the teacher of the next."""

import pathlib
from collections.abc import Callable, Iterator, Sequence

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.training.adopting import Start
from glide_jax.training.config import CHECKPOINTS, TrainConfig, changes_since, read_config

# Students of so few steps take twice the updates, as in Salimans & Ho (2022, section 5).
_FEW = 2


def runs(
    config: str,
    changes: Sequence[str],
    start: Start | None,
    workdir: pathlib.Path,
    say: Callable[[str], None],
    finished: bool = False,
) -> Iterator[tuple[TrainConfig, pathlib.Path]]:
    """Each run that is to be done, and the folder that it works in.

    A run is to be at its end before the next is asked for.

    Args:
        config: see `config.read_config`.
        changes: "section.field=value".
        start: the model to go on from; without one there are no rounds.
        workdir: the folder of the only run, or of folders `steps-N`, one for each round.
        say: takes a line about each run or round that is finished, and is passed over.
        finished: whether those come as well.

    Raises:
        InputError: a config is wrong, or a folder holds another run.
    """
    first = read_config(config, changes, start)
    if start is None or not first.distill.rounds:
        if not finished and _finished(first, workdir):
            say(f"the run is finished; its model is in {workdir / 'model'}")
        else:
            yield first, workdir
        return
    if first.distill.steps:
        raise InputError(
            f"distill.steps is {first.distill.steps}, but each of the rounds "
            f"{checks.shown(first.distill.rounds)} has its own; give distill.rounds alone."
        )
    for n in first.distill.rounds:
        folder = workdir.absolute() / f"steps-{n}"
        length = first.train.num_steps * (2 if n <= _FEW else 1)
        own = (f"distill.steps={n}", f"name={first.name}-{n}", f"train.num_steps={length}")
        read = read_config(config, [*changes, *own], start)
        if not finished and _finished(read, folder):
            say(f"the round of {n} steps is finished; its model is in {folder / 'model'}")
        else:
            yield read, folder
        start = Start(folder / "model", start.stage)


def _finished(config: TrainConfig, folder: pathlib.Path) -> bool:
    changes_since(folder, config)
    steps = [int(path.name) for path in (folder / CHECKPOINTS).glob("*") if path.name.isdigit()]
    done = max(steps, default=0) >= config.train.num_steps
    return done and (folder / "model" / "config.json").exists()
