"""Drawing a picture again from the parameters that it carries."""

import os
import warnings
from collections.abc import Mapping
from typing import Any

from PIL import Image as PILImage

from glide_jax import checks, images
from glide_jax.diffusion import solvers
from glide_jax.errors import InputError
from glide_jax.sampling import canvas, edits, given
from glide_jax.sampling.call import NO_EDIT, Call, Edit, options, parse
from glide_jax.sampling.loading import Loaded

# Parameters that every picture has, and the types that they have; `edit` is None without one.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("model", "dtype", "prompt"), ((str,), "text")),
    **dict.fromkeys(("seed", "index", "batch_size"), ((int,), "a whole number")),
    "edit": ((dict, type(None)), "a record or null"),
    "model_path": ((str, type(None)), "text or null"),
    **dict.fromkeys(("base", "upsample"), ((dict,), "a record")),
    "weights": ((str,), "text"),
}
_MISSING = ("model_path", "base", "upsample", "weights")  # may be, in some pictures
_APART = {"glide_jax", "model_path", "batch_size", "choice"}  # do not say what is drawn


def repetition(
    loaded: Loaded,
    parameters: Mapping[str, Any],
    image: given.PictureLike | None = None,
    mask: given.PictureLike | None = None,
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
    p = check(parameters)
    try:
        if "score" in p:
            score = checks.shown(p["score"])
            raise InputError(f"the score {score} is a function, which no picture carries.")
        call, record = parse(_options(p)), p["edit"] or {}
        if record.get("kind") == "interpolate":
            ends = record["from"], record["to"]
            numbers = {name: record[name] for name in ("frames", "to_seed")}
            return list(ends), edits.interpolating(loaded, call, ends, **numbers)
        edit = _edit(loaded, record, image, mask, "upsample" in p)
        n = 1 if edit.low_res is not None else call.batch_size  # sums depend on the batch's size
        return [p["prompt"]], parse({"n": n, "edit": edit}, call)
    except InputError:
        raise
    except KeyError as error:
        name = checks.shown(error.args[0] if error.args else "")
        raise InputError(f"the parameters have no {name}; they are not whole.") from None
    except (AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        # Values may be of any kind, deep in there.
        why = checks.printable(str(error)[:200])
        raise InputError(f"the parameters cannot be those of a picture: {why}.") from None


def check(parameters: Any) -> Mapping[str, Any]:
    """Parameters of a picture that have what it takes to look for its model.

    Raises:
        InputError: they are something else, or one is missing or of another type.
    """
    if not isinstance(parameters, Mapping):
        raise InputError(
            f"the parameters are {checks.shown(parameters)}; they must be those of a picture."
        )
    if "prompt_sha256" in parameters and "prompt" not in parameters:
        raise InputError(
            "the picture was drawn with --no-record-prompt, so it does not carry its prompt and "
            "cannot be drawn again."
        )
    for name, (kinds, what) in _KINDS.items():
        if name in _MISSING and name not in parameters:
            continue
        if name not in parameters:
            raise InputError(f"the parameters have no {name!r}; they are not whole.")
        if type(parameters[name]) not in kinds:
            raise InputError(
                f"the parameters have the {name} {checks.shown(parameters[name])}; it must be "
                f"{what}."
            )
    return parameters


def check_same(loaded: Loaded, drawn: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Refuses to draw a picture with other parameters than those that it was drawn with.

    Args:
        loaded: the model.
        drawn: parameters of the new picture.
        parameters: those of the old one.

    Raises:
        InputError: a value differs.
    """
    for name in sorted((parameters.keys() | drawn.keys()) - _APART, key=str):
        if not images.drawn_alike(drawn.get(name), parameters.get(name)):
            raise InputError(
                f"the picture was drawn with other values of {checks.shown(name)} than can be "
                f"asked of model {loaded.name!r} now; use the model and version that drew it."
            )
    if parameters.get("glide_jax") != drawn["glide_jax"]:
        warnings.warn(
            f"version {checks.shown(parameters.get('glide_jax'))} of glide_jax drew the picture; "
            f"this is {drawn['glide_jax']}, so it may come out otherwise.",
            stacklevel=2,
        )


def _options(p: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call that has these parameters."""
    own = {name: p[name] for name, (group, _) in options().items() if group == "call" and name in p}
    own.pop("upsample", None)
    own.pop("edit", None)
    out = {**own, "first_index": p["index"], "batch_size": p["batch_size"], "as_recorded": True}
    out["upsample"] = "upsample" in p
    for name, (group, field) in options().items():
        stage = {"base": "base", "upsampler": "upsample"}.get(group, "")
        if stage in p and field.name in p[stage]:
            out[name] = p[stage][field.name]
    if "base" in p and not _knows_eta(p["base"]["sampler"]):
        out.pop("eta", None)
    return out


def _knows_eta(sampler: Any) -> bool:
    return solvers.SAMPLERS[checks.one_of("sampler", sampler, tuple(solvers.SAMPLERS))].eta


def _edit(
    loaded: Loaded,
    record: Mapping[str, Any],
    image: given.PictureLike | None,
    mask: given.PictureLike | None,
    upsample: bool,
) -> Edit:
    """The edit of a record, from the pictures that went in."""
    if not record:
        return NO_EDIT
    kind = checks.one_of("the kind of edit", record["kind"], ("inpaint", "edit", "upscale"))
    image = _input("image", image, record["image"], whole=kind == "inpaint")
    if record["kind"] == "upscale":
        return edits.upscaling(loaded, image)
    if record["kind"] == "edit":
        return edits.redrawing(loaded, image, strength=record["strength"], upsample=upsample)
    mask = _input("mask", mask, record["mask"], whole=True) if "mask" in record else None
    numbers = {name: record[name] for name in ("extend", "strength", "repeats", "jump")}
    margin = record.get("margin", edits.AUTO)
    return edits.inpainting(loaded, image, mask, **numbers, margin=margin, upsample=upsample)


def _input(
    name: str, value: given.PictureLike | None, recorded: Mapping[str, str], *, whole: bool
) -> PILImage.Image:
    """The picture that went in, given or read; its pixels must be the recorded ones.

    Args:
        name: its name in messages.
        value: what is given for it.
        recorded: its record, see `canvas.identity`.
        whole: whether its transparency and own colours matter, too.
    """
    if value is None and type(recorded.get("path")) is not str:
        raise InputError(f"the {name} that went in was no file; give it.")
    if value is None and not os.path.lexists(recorded["path"]):
        raise InputError(
            f"the {name} that went in, {checks.shown(recorded['path'], 200)}, is not here; give it "
            f"as {name} (--{name})."
        )
    if value is None and os.path.exists(recorded["path"]) and not os.path.isfile(recorded["path"]):
        raise InputError(f"the {name} {checks.shown(recorded['path'])} is no file; give it.")
    picture = given.picture(name, recorded["path"] if value is None else value)
    now = canvas.identity(picture, whole)
    if any(now.get(key) != recorded.get(key) for key in ("sha256", "own")):
        which = checks.shown(getattr(picture, "filename", "") or "given")
        raise InputError(
            f"the {name} {which} is not the one that went in: its pixels have changed; give the "
            f"one with SHA-256 {recorded['sha256'][:12]!a}."
        )
    return picture
