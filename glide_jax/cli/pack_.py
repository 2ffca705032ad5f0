"""`glide-jax pack`: one model directory of separately trained parts."""

import pathlib

import click

from glide_jax.cli import common
from glide_jax.errors import InputError


@click.command("pack")
@click.argument("parts", nargs=-1, type=click.Path(path_type=pathlib.Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=pathlib.Path), help="The new directory."
)
@click.option("--name", help="The model's; by default that of the directory.")
def command(parts: tuple[pathlib.Path, ...], out: pathlib.Path, name: str | None) -> None:
    """Join PARTS, as training writes them: a base, perhaps an upsampler and a CLIP."""
    if not parts:
        raise InputError("there is no part; give the directories of a base and what goes with it.")
    common.check_out(out)
    from glide_jax import build

    model = build.pack(parts, out, name=name or out.resolve().name)
    clip = ["clip"] if model.clip else []
    common.say(f"{model.name}: {', '.join([*model.stages, *clip])}")
    common.result(out)
