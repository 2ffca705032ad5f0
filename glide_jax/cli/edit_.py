"""`glide-jax edit`: a picture drawn anew from a photo or a sketch."""

import pathlib

import click

from glide_jax.cli import common
from glide_jax.cli.drawing import Drawing, draw_to_files, drawing_command


@click.command("edit")
@click.argument("picture", type=common.PATH)
@click.argument("prompt")
@click.option("--strength", default="0.6", show_default=True, help="Up to 1; small changes little.")
@click.option(
    "--mask", type=common.PATH,
    help="A picture as large; only its white part changes.",
)  # fmt: skip
@drawing_command()
def command(
    picture: pathlib.Path, prompt: str, strength: str, mask: pathlib.Path | None, drawing: Drawing
) -> None:
    """Draw PROMPT starting from PICTURE, a photo or a coloured sketch (SDEdit)."""
    redraw(picture, prompt, strength, mask, drawing)


def redraw(
    picture: pathlib.Path, prompt: str, strength: str, mask: pathlib.Path | None, drawing: Drawing
) -> None:
    """Draws a prompt from a picture, for `edit` and `vary`.

    Args:
        picture: the picture's file.
        prompt: what to draw.
        strength: above 0 to 1.
        mask: the mask's file, if there is one.
        drawing: the command's options.
    """
    from glide_jax import images
    from glide_jax.sampling import edits

    image, white = images.read(picture), None if mask is None else images.read(mask)
    upsample = drawing.call.upsample
    edit = lambda loaded: edits.redrawing(
        loaded, image, white, strength=strength, upsample=upsample
    )
    glide, drawing = drawing.load([prompt], edit)
    draw_to_files(glide, [prompt], drawing)
