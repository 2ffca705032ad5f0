"""`glide-jax edit`: a picture drawn anew from a photo or a sketch."""

import pathlib
from typing import Any

import click

from glide_jax.cli import common, sample_


@click.command("edit")
@click.argument("picture", type=click.Path(path_type=pathlib.Path))
@click.argument("prompt")
@click.option("--strength", default="0.6", show_default=True, help="Up to 1; small changes little.")
@click.option(
    "--mask", type=click.Path(path_type=pathlib.Path),
    help="A picture as large; only its white part changes.",
)  # fmt: skip
@common.sampling_options
def command(
    picture: pathlib.Path,
    prompt: str,
    strength: str,
    mask: pathlib.Path | None,
    model: str,
    dtype: str,
    device: str | None,
    out: pathlib.Path,
    n: str,
    **options: Any,
) -> None:
    """Draw PROMPT starting from PICTURE, a photo or a coloured sketch (SDEdit)."""
    redraw(picture, prompt, strength, mask, (model, dtype, device), out, n, options)


def redraw(
    picture: pathlib.Path,
    prompt: str,
    strength: str,
    mask: pathlib.Path | None,
    model: tuple[str, str, str | None],
    out: pathlib.Path,
    n: str,
    options: dict[str, Any],
) -> None:
    """What `edit` and `vary` do."""
    from glide_jax import images

    image, white = images.read(picture), None if mask is None else images.read(mask)
    common.check_out(out)
    glide = common.load_glide(*model)
    from glide_jax.sampling import edits

    edit = edits.redrawing(
        glide, image, white, strength=strength, upsample=options["upsample"]
    )  # fmt: skip
    sample_.draw(glide, [prompt], out, n, options | {"edit": edit})
