"""`glide-jax finetune`: a model directory, trained further on pictures of your own."""

import pathlib

import click

from glide_jax import checks
from glide_jax.cli import cluster, common, train_


@click.command(
    "finetune", context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@click.argument("model", type=common.PLACE)
@click.option(
    "--data",
    type=common.PLACE,
    required=True,
    help="A folder of pictures and captions, or a set's name.",
)
@click.option(
    "--workdir", required=True, type=common.PATH,
    help="Folder of this run alone; a run in it is resumed.",
)  # fmt: skip
@click.option("--stage", default="base", show_default=True, help="base or upsample.")
@click.option("--steps", help="1000 by default.")
@click.option("--lr", help="Learning rate, 1e-5 by default.")
@click.option("--batch-size", help="8 by default.")
@click.option("--dry-run", is_flag=True, help="Compile, tell memory and arithmetic, and exit.")
@common.device_option
@cluster.options
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    data: str,
    workdir: pathlib.Path,
    stage: str,
    steps: str | None,
    lr: str | None,
    batch_size: str | None,
    dry_run: bool,
    device: str | None,
    **others: str | None,
) -> None:
    """Train MODEL, a directory or a name, further on --data.

    The result is WORKDIR/model, a model directory with MODEL's other stages. Fields of
    configs/finetune.py can be given too, as --config.train.freeze=^text/.
    """
    checks.one_of("--stage", stage, ("base", "upsample"))
    changes = changes_of(ctx.args, data, steps, lr, batch_size)
    train_.start(f"finetune:{stage}", changes, workdir, dry_run=dry_run, device=device,
                 model=(model, stage), others=others)  # fmt: skip


def changes_of(
    words: list[str],
    data: str | None,
    steps: str | None,
    lr: str | None,
    batch_size: str | None,
) -> list[str]:
    """The changes of a config that options stand for, and those among a command's other words.

    Args:
        words: the others.
        data: a folder of pictures or a set's name; None is the config's own.
        steps: updates of the run.
        lr: the learning rate.
        batch_size: pictures in a batch.
    """
    given = {"train.num_steps": steps, "optim.lr": lr, "train.batch_size": batch_size}
    changes = [f"{name}={value}" for name, value in given.items() if value is not None]
    return [*([] if data is None else _source_of(data)), *changes, *train_.overrides(words)]


def _source_of(data: str) -> list[str]:
    """The fields of a config for a folder of pictures, or else for a set's name."""
    from glide_jax.data.catalogue import check_set

    if pathlib.Path(data).is_dir():
        return ["data.source=folder", f"data.path={data}"]
    check_set(data)
    return [f"data.source={data}"]
