"""`glide-jax repeat`: a picture drawn again from what it carries."""

import pathlib
from collections.abc import Mapping
from typing import Any

import click

from glide_jax.cli import common, drawing, placing, signing
from glide_jax.cli.progress import progress_bars
from glide_jax.errors import InputError


@click.command("repeat")
@click.argument("picture", type=common.PATH)
@click.option(
    "--model", type=common.PLACE, help="The model that drew it, if it is not where it was."
)
@click.option(
    "--image", type=common.PATH,
    help="The picture that went in, if it is not where it was.",
)  # fmt: skip
@click.option("--mask", type=common.PATH, help="Its mask, likewise.")
@common.device_option
@common.out_option
@common.json_option
@signing.marks_options
@drawing.a1111_option
def command(
    picture: pathlib.Path,
    model: str | None,
    image: pathlib.Path | None,
    mask: pathlib.Path | None,
    device: str | None,
    out: pathlib.Path,
    a1111: bool,
) -> None:
    """Draw PICTURE again into --out, bit for bit, from the parameters it carries."""
    from glide_jax import checks, images
    from glide_jax.sampling import a1111 as a1111_text
    from glide_jax.sampling import repeating

    images.read(picture)
    parameters = images.read_parameters(picture)
    if parameters is None or "model" not in parameters:
        raise InputError(
            f"{str(picture)!r} carries no parameters of glide-jax; give a PNG that it wrote, and "
            "that no other program has saved since."
        )
    repeating.check(parameters)
    went_in = {
        name: None if path is None else images.read(path)
        for name, path in (("image", image), ("mask", mask))
    }
    if common.check_out(out).resolve() == picture.resolve().parent:
        raise InputError(f"--out {str(out)!r} holds the picture itself; give another folder.")
    if model is None:
        model = _where_it_lay(parameters)
    weights = parameters.get("weights", "float32")
    outline = common.outline(str(model), parameters["dtype"]).loaded
    if outline.name != parameters["model"]:
        raise InputError(
            f"model {outline.name!r} did not draw {picture.name!r}; give --model "
            f"{checks.shown(parameters['model'])}."
        )
    repeating.repetition(outline, parameters, **went_in)  # what is missing is missed here
    glide = common.load_glide(str(model), parameters["dtype"], device, weights=weights)
    with progress_bars("steps", width=9) as progress:
        again = glide.repeat(parameters, **went_in, progress=progress)
    drawn = a1111_text.marked(again.image, parameters) if a1111 else again.image
    path, found = placing.write(out.absolute(), picture.stem, drawn, parameters)
    if found == "same":
        common.say(f"{path.name} was there already and stays as it is")
    common.result(path, {"path": path, "parameters": parameters})


def _where_it_lay(parameters: Mapping[str, Any]) -> str:
    """The path or name by which the model was called, if it is still there.

    Raises:
        InputError: it is not, as in another folder than the one where the picture was drawn.
    """
    from glide_jax import checks
    from glide_jax.model_dir import reading

    model = str(parameters.get("model_path") or parameters["model"])
    try:
        reading.find_model(model, common.cache_folder() / "models")
    except InputError:
        raise InputError(
            f"the model that drew it, {checks.shown(model)}, is not here; give its path with "
            "--model, or run this where the picture was drawn."
        ) from None
    return model
