"""`glide-jax upscale`: a picture of any size enlarged by the upsampler."""

import pathlib

import click

from glide_jax.cli import common, sample_


@click.command("upscale")
@click.argument("picture", type=click.Path(path_type=pathlib.Path))
@click.argument("prompt", default="")
@click.option("--n", default="1", show_default=True, help="Pictures.")
@click.option("--seed", default="0", show_default=True, help="0 to 4294967295.")
@click.option("--first-index", default="0", help="Number of the first picture of a seed.")
@click.option("--upsample-steps", help="1 to 1000, or a respacing such as fast27.")
@click.option("--upsample-sampler", help="As --sampler of sample.")
@click.option("--upsample-grid", help="As --grid of sample.")
@click.option("--temperature", help="Of the starting noise.")
@click.option("--batch-size", default="4", show_default=True, help="Windows at once.")
@common.model_option
@common.dtype_option
@common.device_option
@common.out_option
def command(
    picture: pathlib.Path,
    prompt: str,
    model: str,
    dtype: str,
    device: str | None,
    out: pathlib.Path,
    n: str,
    **options: str | None,
) -> None:
    """Enlarge PICTURE by the model's upsampler; PROMPT says what it shows, if given.

    Pictures larger than the base's are worked on in overlapping windows.
    """
    from glide_jax import images

    image = images.read(picture)
    common.check_out(out)
    glide = common.load_glide(model, dtype, device)
    from glide_jax.sampling import edits

    edit = edits.upscaling(glide, image)
    sample_.draw(glide, [prompt], out, n, options | {"edit": edit})
