"""Drawing a picture again from the parameters that it carries."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from PIL import Image as PILImage

from glide_jax import checks, images
from glide_jax.diffusion import solvers
from glide_jax.errors import InputError
from glide_jax.sampling import canvas
from glide_jax.sampling.edits import inpainting, interpolate, redrawing, upscaling
from glide_jax.sampling.options import Edit, Options

if TYPE_CHECKING:
    from glide_jax.sampling.glide import Glide, Picture


def repeat(
    glide: "Glide",
    parameters: Mapping[str, Any],
    *,
    image: PILImage.Image | None = None,
    mask: PILImage.Image | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> "Picture":
    """Draws a picture again from its parameters, bit for bit on the same kind of device.

    Args:
        glide: the model that drew it.
        parameters: of `Picture.parameters`, or read from a PNG.
        image: the picture that went in, if one did; by default it is read from where it lay.
        mask: its mask, likewise.
        progress: as of `Options`.

    Raises:
        InputError: something that went in is missing or differs, or the parameters are not whole.
    """
    p = dict(parameters)
    try:
        if "score" in p:
            raise InputError(f"the score {p['score']} is a function, which no picture carries.")
        options, record = _options(p), p.get("edit") or {}
        options |= {"progress": progress}
        if record.get("kind") == "interpolate":
            how = {name: record[name] for name in ("frames", "to_seed")}
            made = interpolate(glide, record["from"], record["to"], **how, **options)
            strip = canvas.strip([picture.image for picture in made])
            picture = dataclasses.replace(made[0], image=strip)
        else:
            edit = _remade(glide, record, image, mask, "upsample" in p)
            tiled = edit is not None and edit.low_res is not None
            n = 1 if tiled else options["batch_size"]  # sums depend on the batch's size
            drawing = glide.pictures(p["prompt"], edit=edit, n=n, **options)
            picture = next(iter(drawing))
    except KeyError as error:
        raise InputError(f"the parameters have no {error}; they are not whole.") from None
    for name in ("base", "upsample", "edit"):
        if not images.drawn_alike(picture.parameters.get(name), p.get(name)):
            raise InputError(
                f"the picture was drawn with other values of {name!r} than can be asked of model "
                f"{glide.loaded.name!r} now; use the model and version that drew it."
            )
    return dataclasses.replace(picture, parameters=p)


def _options(p: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call that has these parameters."""
    names = {field.name for field in dataclasses.fields(Options)} - {"n", "keep", "edit"}
    out = {name: value for name, value in p.items() if name in names and value is not None}
    out |= {"first_index": p["index"], "batch_size": p["batch_size"], "upsample": "upsample" in p}
    if "base" in p:
        out |= {name: value for name, value in p["base"].items() if name in names}
        if not solvers.SAMPLERS[p["base"]["sampler"]].eta:
            del out["eta"]
    out.pop("temperature", None)
    if "upsample" in p:
        for name in ("steps", "sampler", "grid"):
            out[f"upsample_{name}"] = p["upsample"][name]
        out["temperature"] = p["upsample"]["temperature"]
    return out


def _remade(
    glide: "Glide",
    record: Mapping[str, Any],
    image: PILImage.Image | None,
    mask: PILImage.Image | None,
    upsample: bool,
) -> Edit | None:
    """The edit of a record, from the pictures that went in."""
    if not record:
        return None
    checks.one_of("the kind of edit", record["kind"], ("inpaint", "edit", "upscale"))
    image = _found("image", image, record["image"])
    if record["kind"] == "upscale":
        return upscaling(glide, image)
    if record["kind"] == "edit":
        return redrawing(glide, image, strength=record["strength"], upsample=upsample)
    mask = _found("mask", mask, record["mask"]) if "mask" in record else None
    how = {name: record[name] for name in ("extend", "strength", "repeats", "jump")}
    return inpainting(glide, image, mask, **how, upsample=upsample)


def _found(name: str, given: PILImage.Image | None, said: Mapping[str, str]) -> PILImage.Image:
    """The picture that went in, given or read, of which the pixels must be the same."""
    if given is None and "path" not in said:
        raise InputError(f"the {name} that went in was no file; give it.")
    picture = images.read(said["path"]) if given is None else given
    if canvas.identity(picture)["sha256"] != said["sha256"]:
        raise InputError(
            f"the {name} {getattr(picture, 'filename', '') or 'given'!r} is not the one that went "
            f"in: its pixels have changed; give the one with SHA-256 {said['sha256'][:12]}."
        )
    return picture
