"""`glide-jax inpaint`: part of a picture painted anew."""

import pathlib
from typing import Any

import click

from glide_jax.cli import common, sample_


@click.command("inpaint")
@click.argument("picture", type=click.Path(path_type=pathlib.Path))
@click.argument("prompt")
@click.option(
    "--mask", required=True, type=click.Path(path_type=pathlib.Path),
    help="A picture as large; white is painted anew.",
)  # fmt: skip
@common.sampling_options
def command(
    picture: pathlib.Path,
    prompt: str,
    mask: pathlib.Path,
    model: str,
    dtype: str,
    device: str | None,
    out: pathlib.Path,
    n: str,
    **options: Any,
) -> None:
    """Repaint the white part of --mask in PICTURE (square) so that it fits PROMPT."""
    from glide_jax import images

    image, white = images.read(picture), images.read(mask)
    common.check_out(out)
    glide = common.load(model, dtype, device)
    planes = glide.inpainting_planes(image, white, upsample=options["upsample"])
    sample_.draw(glide, [prompt], out, n, options | planes)
