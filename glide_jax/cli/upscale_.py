"""`glide-jax upscale`: a picture of any size enlarged by the upsampler."""

import pathlib

import click

from glide_jax.cli import common
from glide_jax.cli.drawing import Drawing, draw_to_files, drawing_command

HELPS = {
    "n": "Pictures.",
    "seed": "0 to 4294967295.",
    "first_index": "Number of the first picture of a seed.",
    "upsample_steps": "1 to 1000, or a respacing such as fast27.",
    "upsample_sampler": "Sampler, see sample.",
    "upsample_grid": "Grid, see sample.",
    "temperature": "Temperature of the starting noise.",
    "batch_size": "Windows at once.",
}


@click.command("upscale")
@click.argument("picture", type=common.PATH)
@click.argument("prompt", default="")
@drawing_command(HELPS)
def command(picture: pathlib.Path, prompt: str, drawing: Drawing) -> None:
    """Enlarge PICTURE by the model's upsampler; PROMPT says what it shows, if given.

    Pictures larger than the base's are worked on in overlapping windows.
    """
    from glide_jax import images
    from glide_jax.sampling import edits

    image = images.read(picture)
    glide, drawing = drawing.load([prompt], lambda loaded: edits.upscaling(loaded, image))
    draw_to_files(glide, [prompt], drawing)
