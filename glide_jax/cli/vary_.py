"""`glide-jax vary`: variations of a picture."""

import pathlib

import click

from glide_jax.cli import common, edit_
from glide_jax.cli.drawing import Drawing, drawing_command


@click.command("vary")
@click.argument("picture", type=common.PATH)
@click.argument("prompt", default="")
@click.option("--strength", default="0.5", show_default=True, help="Up to 1; small varies little.")
@drawing_command()
def command(picture: pathlib.Path, prompt: str, strength: str, drawing: Drawing) -> None:
    """Draw variations of PICTURE, one a number of --n; PROMPT says what it shows, if given."""
    edit_.redraw(picture, prompt, strength, None, drawing)
