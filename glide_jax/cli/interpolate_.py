"""`glide-jax interpolate`: a strip of pictures between two prompts, and between two seeds."""

import click

from glide_jax.cli import common, placing
from glide_jax.cli.drawing import Drawing, drawing_command
from glide_jax.cli.progress import progress_bars
from glide_jax.errors import InputError


@click.command("interpolate")
@click.argument("first")
@click.argument("last")
@click.option("--frames", default="8", show_default=True, help="How many pictures, 2 to 1000.")
@click.option("--to-seed", help="Seed of the last picture, if not --seed.")
@click.option("--gif/--no-gif", default=False, help="Write an animation, too.")
@drawing_command()
def command(
    first: str, last: str, frames: str, to_seed: str | None, gif: bool, drawing: Drawing
) -> None:
    """Draw pictures on the way from the prompt FIRST to LAST, side by side.

    Two equal prompts and --to-seed go from one seed's picture to another's.
    """
    from glide_jax.sampling import canvas, edits

    if drawing.call.n != 1:
        raise InputError(
            f"n is {drawing.given['n']!r}, but a strip is one picture; --frames says of how many."
        )
    ends = first, last
    between = lambda loaded: edits.interpolating(
        loaded, drawing.call, ends, frames=frames, to_seed=to_seed
    )
    glide, chosen = drawing.load(ends, between)
    with progress_bars("steps", width=9) as progress:
        drawn = list(glide.pictures(ends, chosen.call, progress=progress))
    p = drawn[0].parameters
    words = (
        "-to-".join(common.slug(end, 24) for end in ends)
        if p.get("prompt") is not None
        else "strip"
    )
    name = f"{words}-s{p['seed']}-i{p['index']}"
    pictures = [picture.image for picture in drawn]
    strip = drawing.marked(canvas.strip(pictures), p)
    path, found = placing.write(drawing.out, name, strip, p)
    if found == "same":
        common.say("the strip was there already and stays as it is")
    common.result(path, {"path": path, "parameters": p})
    if gif:
        common.result(placing.write_beside(path, ".gif", canvas.gif(pictures)))
