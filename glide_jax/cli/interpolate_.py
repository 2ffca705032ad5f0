"""`glide-jax interpolate`: a strip of pictures between two prompts, and between two seeds."""

import pathlib
from typing import Any

import click

from glide_jax.cli import common
from glide_jax.errors import InputError


@click.command("interpolate")
@click.argument("first")
@click.argument("last")
@click.option("--frames", default="8", show_default=True, help="How many pictures, 2 to 1000.")
@click.option("--to-seed", help="Seed of the last picture, if not --seed.")
@click.option("--gif/--no-gif", default=False, help="Write an animation, too.")
@common.sampling_options
def command(
    first: str,
    last: str,
    frames: str,
    to_seed: str | None,
    gif: bool,
    model: str,
    dtype: str,
    device: str | None,
    out: pathlib.Path,
    n: str,
    **options: Any,
) -> None:
    """Draw pictures on the way from the prompt FIRST to LAST, side by side.

    Two equal prompts and --to-seed go from one seed's picture to another's.
    """
    from glide_jax import images
    from glide_jax.sampling import canvas

    if n.strip() != "1":
        raise InputError(f"n is {n!r}, but a strip is one picture; --frames says of how many.")
    common.check_out(out)
    glide = common.load_glide(model, dtype, device)
    given = {name: value for name, value in options.items() if value is not None}
    with common.progress_bars() as progress:
        drawn = glide.interpolate(
            first, last, frames=frames, to_seed=to_seed, progress=progress, **given
        )
    p = drawn[0].parameters
    name = f"{common.slug(first, 24)}-to-{common.slug(last, 24)}-s{p['seed']}-i{p['index']}"
    pictures = [picture.image for picture in drawn]
    images.write_png(out / f"{name}.png", canvas.strip(pictures), p)
    common.result(out / f"{name}.png")
    if gif:
        canvas.write_gif(out / f"{name}.gif", pictures)
        common.result(out / f"{name}.gif")
