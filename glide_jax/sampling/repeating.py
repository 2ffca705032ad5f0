"""Drawing a picture again from the parameters that it carries."""

from collections.abc import Mapping
from typing import Any

from PIL import Image as PILImage

from glide_jax import checks, images
from glide_jax.diffusion import solvers
from glide_jax.errors import InputError
from glide_jax.sampling import canvas, edits
from glide_jax.sampling.call import NO_EDIT, Call, Edit, options, parse
from glide_jax.sampling.loading import Loaded


def repetition(
    loaded: Loaded,
    parameters: Mapping[str, Any],
    image: PILImage.Image | None = None,
    mask: PILImage.Image | None = None,
) -> tuple[list[str], Call]:
    """The prompts and the call that drew a picture, for the batch that it was drawn in.

    Args:
        loaded: the model that drew it.
        parameters: the picture's.
        image: the picture that went in, if one did; by default it is read from where it lay.
        mask: its mask, likewise.

    Raises:
        InputError: something that went in is missing or differs, or the parameters are not whole.
    """
    p = parameters
    try:
        if "score" in p:
            raise InputError(f"the score {p['score']} is a function, which no picture carries.")
        call, record = parse(_options(p)), p.get("edit") or {}
        if record.get("kind") == "interpolate":
            ends = record["from"], record["to"]
            numbers = {name: record[name] for name in ("frames", "to_seed")}
            return list(ends), edits.interpolating(loaded, call, ends, **numbers)
        edit = _edit(loaded, record, image, mask, "upsample" in p)
        n = 1 if edit.low_res is not None else call.batch_size  # sums depend on the batch's size
        return [p["prompt"]], parse({"n": n, "edit": edit}, call)
    except KeyError as error:
        raise InputError(f"the parameters have no {error}; they are not whole.") from None


def check_same(loaded: Loaded, drawn: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Refuses a picture that was not drawn with the parameters that it was to be drawn with.

    Args:
        loaded: the model.
        drawn: parameters of the new picture.
        parameters: those of the old one.
    """
    for name in ("base", "upsample", "edit"):
        if not images.drawn_alike(drawn.get(name), parameters.get(name)):
            raise InputError(
                f"the picture was drawn with other values of {name!r} than can be asked of model "
                f"{loaded.name!r} now; use the model and version that drew it."
            )


def _options(p: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call that has these parameters."""
    own = {name: p[name] for name, (group, _) in options().items() if group == "call" and name in p}
    own.pop("upsample", None)
    own.pop("edit", None)
    out = {**own, "first_index": p["index"], "batch_size": p["batch_size"]}
    out["upsample"] = "upsample" in p
    for name, (group, field) in options().items():
        stage = {"base": "base", "upsampler": "upsample"}.get(group, "")
        if stage in p and field.name in p[stage]:
            out[name] = p[stage][field.name]
    if "base" in p and not solvers.SAMPLERS[p["base"]["sampler"]].eta:
        del out["eta"]
    return out


def _edit(
    loaded: Loaded,
    record: Mapping[str, Any],
    image: PILImage.Image | None,
    mask: PILImage.Image | None,
    upsample: bool,
) -> Edit:
    """The edit of a record, from the pictures that went in."""
    if not record:
        return NO_EDIT
    checks.one_of("the kind of edit", record["kind"], ("inpaint", "edit", "upscale"))
    image = _input("image", image, record["image"])
    if record["kind"] == "upscale":
        return edits.upscaling(loaded, image)
    if record["kind"] == "edit":
        return edits.redrawing(loaded, image, strength=record["strength"], upsample=upsample)
    mask = _input("mask", mask, record["mask"]) if "mask" in record else None
    numbers = {name: record[name] for name in ("extend", "strength", "repeats", "jump")}
    return edits.inpainting(loaded, image, mask, **numbers, upsample=upsample)


def _input(name: str, given: PILImage.Image | None, recorded: Mapping[str, str]) -> PILImage.Image:
    """The picture that went in, given or read; its pixels must be the recorded ones."""
    if given is None and "path" not in recorded:
        raise InputError(f"the {name} that went in was no file; give it.")
    picture = images.read(recorded["path"]) if given is None else given
    if canvas.identity(picture)["sha256"] != recorded["sha256"]:
        raise InputError(
            f"the {name} {getattr(picture, 'filename', '') or 'given'!r} is not the one that went "
            f"in: its pixels have changed; give the one with SHA-256 {recorded['sha256'][:12]}."
        )
    return picture
