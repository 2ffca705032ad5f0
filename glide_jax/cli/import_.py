"""`glide-jax import`: PyTorch checkpoints to a model directory, without torch."""

import pathlib

import click

from glide_jax.cli import common


@click.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=common.PATH
)  # fmt: skip
@click.option(
    "--out", required=True, type=common.PATH,
    help="The model directory to make.",
)  # fmt: skip
@click.option("--name", default=None, help="The model's name; by default that of --out.")
@click.option(
    "--half/--full", default=False, help="Store weights as float16; computing stays float32."
)
def command(files: tuple[pathlib.Path, ...], out: pathlib.Path, name: str | None, half: bool):
    """Turn released GLIDE checkpoints (FILES) into a model directory.

    FILES are paths, or names of what `glide-jax download` has fetched, such as base. Each file is
    recognised by its tensors: base or upsampler, with or without inpainting, CLIP image encoder,
    CLIP text encoder.
    """
    from glide_jax.checkpoints import released
    from glide_jax.model_dir import importing

    common.check_out(out)
    folder = common.checkpoints_folder()
    found = [released.find_file(path, folder) for path in files]
    for line in importing.import_files(
        found, out, name=name or out.resolve().name, dtype="float16" if half else "float32"
    ):
        common.say(line)
    common.result(out)
