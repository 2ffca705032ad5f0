"""`glide-jax export-program`: a model's networks as one file of programs."""

import pathlib

import click

from glide_jax.cli import common
from glide_jax.errors import InputError


@click.command("export-program")
@click.argument("model", type=common.PLACE)
@click.option("--out", required=True, type=common.PATH, help="The file to write.")
@click.option("--platforms", help="Any of cpu, cuda, rocm, tpu, with commas [default device's].")
@click.option(
    "--convolutions", default="auto", show_default=True,
    help="The algorithm: auto, direct, winograd2 or winograd4.",
)  # fmt: skip
@common.dtype_option
@common.device_option
def command(
    model: str, out: pathlib.Path, platforms: str | None, convolutions: str, dtype: str,
    device: str | None,
) -> None:  # fmt: skip
    """Write the networks of MODEL to --out, for `sample --program` and `load(program=)`.

    They take any batch at the model's own size of picture. Weights are not in the file.
    """
    common.choose_device(device)
    from glide_jax import compiling
    from glide_jax.model_dir import reading
    from glide_jax.sampling import loading, programs

    compiling.check_dtype(dtype)
    directory = reading.find_model(model, common.cache_folder() / "models")
    if out.is_dir():
        raise InputError(f"--out {str(out)!r} is a folder; give the name of a file.")
    common.check_out(out.absolute().parent)
    names = [name.strip() for name in platforms.split(",")] if platforms else []
    loaded = loading.load(directory, dtype, convolutions)
    programs.write_program(out, loaded.configs, loaded.stages, loaded.params, dtype, names)
    common.result(out)
