"""`glide-jax distill`: a student that draws what a model does in fewer evaluations."""

import pathlib

import click

from glide_jax import checks
from glide_jax.cli import cluster, common, finetune_, train_


@click.command(
    "distill", context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@click.option(
    "--from", "model", type=common.PLACE, required=True,
    help="The teacher: a model directory, or a name.",
)  # fmt: skip
@click.option("--what", required=True, help="guidance, steps, or distribution.")
@click.option(
    "--workdir", required=True, type=common.PATH,
    help="Folder of this distillation alone; one in it is resumed.",
)  # fmt: skip
@click.option("--stage", default="base", show_default=True, help="base or upsample.")
@click.option(
    "--size", default="full", show_default=True,
    help="full is for a GPU, shapes for that model on two CPU cores, smoke takes seconds.",
)  # fmt: skip
@click.option(
    "--data", type=common.PLACE, help="A folder of pictures and captions, or a set's name."
)
@click.option("--updates", help="Updates of a run, or of each round.")
@click.option("--lr", help="Learning rate.")
@click.option("--batch-size", help="Pictures in a batch.")
@click.option("--dry-run", is_flag=True, help="Compile, tell memory and arithmetic, and exit.")
@common.device_option
@cluster.options
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    what: str,
    workdir: pathlib.Path,
    stage: str,
    size: str,
    data: str | None,
    updates: str | None,
    lr: str | None,
    batch_size: str | None,
    dry_run: bool,
    device: str | None,
    **others: str | None,
) -> None:
    """Teach a student what the model of --from draws, with fewer evaluations of the network.

    --what distribution makes a student of a few steps without a second evaluation for guidance,
    whose pictures are spread as the teacher's are; the result is WORKDIR/model.

    --what guidance makes one evaluation of guidance's two; the scale becomes an input. The result
    is WORKDIR/model. --what steps makes one step of two, in rounds such as 16, 8, 4 and 2 steps;
    the result of each is WORKDIR/steps-N/model. Both are model directories with the teacher's
    other stages. Fields of the configs, configs/distill_WHAT.py, can be given too, as
    --config.distill.rounds=16,8.
    """
    checks.one_of("--what", what, ("guidance", "steps", "distribution"))
    checks.one_of("--stage", stage, ("base", "upsample"))
    checks.one_of("--size", size, ("full", "shapes", "smoke"))
    changes = finetune_.changes_of(ctx.args, data, updates, lr, batch_size)
    config = f"distill_{what}:{size}{'-upsample' if stage == 'upsample' else ''}"
    train_.start(config, changes, workdir, dry_run=dry_run, device=device,
                 model=(model, stage), others=others)  # fmt: skip
