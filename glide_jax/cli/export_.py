"""`glide-jax export`: a model directory to PyTorch checkpoints."""

import pathlib

import click

from glide_jax.cli import common


@click.command("export")
@click.argument("model", type=common.PLACE)
@click.option(
    "--out", required=True, type=common.PATH,
    help="Folder for the .pt files.",
)  # fmt: skip
def command(model: str, out: pathlib.Path) -> None:
    """Write MODEL (a directory or a name) as state dicts that the PyTorch reference loads."""
    from glide_jax.model_dir import importing, reading

    directory = reading.find_model(model, common.cache_folder() / "models")
    common.check_out(out)
    for path in importing.export_files(directory, out):
        common.result(path)
