"""`glide-jax vary`: variations of a picture."""

import pathlib
from typing import Any

import click

from glide_jax.cli import common, edit_


@click.command("vary")
@click.argument("picture", type=click.Path(path_type=pathlib.Path))
@click.argument("prompt", default="")
@click.option("--strength", default="0.5", show_default=True, help="Up to 1; small varies little.")
@common.sampling_options
def command(
    picture: pathlib.Path,
    prompt: str,
    strength: str,
    model: str,
    dtype: str,
    device: str | None,
    out: pathlib.Path,
    n: str,
    **options: Any,
) -> None:
    """Draw variations of PICTURE, one a number of --n; PROMPT says what it shows, if given."""
    edit_.redraw(picture, prompt, strength, None, (model, dtype, device), out, n, options)
