"""`glide-jax inpaint`: part of a picture painted anew, or more canvas around it."""

import pathlib
from typing import Any

import click

from glide_jax.cli import common
from glide_jax.cli.drawing import Drawing, draw_to_files, drawing_command
from glide_jax.errors import InputError


@click.command("inpaint")
@click.argument("picture", type=common.PATH)
@click.argument("prompt")
@click.option(
    "--mask", type=common.PATH,
    help="A picture as large; white is painted anew, grey is blended.",
)  # fmt: skip
@click.option("--extend", default="0,0,0,0", help="Pixels to add: LEFT,TOP,RIGHT,BOTTOM.")
@click.option("--strength", default="1", help="Below 1 it starts from what is there.")
@click.option("--repeats", default="1", help="Walks each stretch of steps so often (RePaint).")
@click.option("--jump", help="Steps of such a stretch [10].")
@click.option(
    "--margin", default="auto",
    help="Context around the hole, in parts of its longer side: small holes are drawn enlarged.",
)  # fmt: skip
@drawing_command()
def command(
    picture: pathlib.Path,
    prompt: str,
    mask: pathlib.Path | None,
    extend: str,
    drawing: Drawing,
    **numbers: Any,
) -> None:
    """Repaint the white part of --mask in PICTURE so that it fits PROMPT.

    PICTURE may have any size. Every pixel where the mask is black stays as it is.
    """
    from glide_jax import images
    from glide_jax.sampling import edits

    if mask is None and not extend.strip("0,"):
        raise InputError("there is neither --mask nor --extend: nothing to paint.")
    image, white = images.read(picture), None if mask is None else images.read(mask)
    edits.check_repeats(numbers["repeats"], numbers["jump"])
    options = {**numbers, "extend": extend, "upsample": drawing.call.upsample}
    edit = lambda loaded: edits.inpainting(loaded, image, white, **options)
    glide, drawing = drawing.load([prompt], edit)
    draw_to_files(glide, [prompt], drawing)
