"""Writes models to directories: a new one, one in place of another, or one made of parts."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.files import replacing_dir
from glide_jax.model_dir import disk
from glide_jax.model_dir.reading import Model, read_model
from glide_jax.trees import flatten
from glide_jax.types import Params

CARDS = pathlib.Path(__file__).parent / "cards"
CARD = (CARDS / "trained.md").read_text(encoding="utf-8")  # has fields for `str.format`
USE_MODEL = 'glide-jax sample "..." --model THIS'
USE_PART = "glide-jax pack BASE THIS --out MODEL"
_EVERYTHING = "The quick brown fox jumps over 12 lazy dogs on a large white background; \u00e9."


class Rest(NamedTuple):
    """Parts of a model whose weights lie in another model's directory."""

    directory: pathlib.Path
    parts: Collection[str]  # base, upsample, clip


def write_model(
    directory: pathlib.Path,
    model: Model,
    *,
    card: str,
    dtype: str = "float32",
    rest: Rest | None = None,
) -> None:
    """Writes a model directory that `read_model` reads; whole or not at all.

    Args:
        directory: must not exist, or be empty.
        model: the model to write.
        card: README.md of the directory.
        dtype: type of the stored weights, "float32" or "float16".
        rest: the parts that are not written again; its directory is stored relative to this one.

    Raises:
        InputError: the model's name cannot be printed.
        FileExistsError: something is in the way.
    """
    checks.label("name", model.name)
    weights = {name: params for name, (_, params) in model.stages.items()}
    with replacing_dir(directory) as folder:
        config: dict[str, Any] = {"name": model.name, "tokenizer": model.tokenizer.save(folder)}
        if rest is not None:
            config["rest_of"] = os.path.relpath(rest.directory.resolve(), directory.resolve())
        config |= {name: part.record() for name, (part, _) in model.stages.items()}
        if model.clip is not None:
            clip, tokenizer, weights["clip"] = model.clip
            spec = tokenizer.save(folder)
            config["clip"] = {"model": dataclasses.asdict(clip), "tokenizer": spec}
        for name in weights.keys() - set(rest.parts if rest else ()):
            disk.write_weights(folder / f"{name}.safetensors", weights[name], dtype)
        disk.write_config(folder, config)
        if model.forms is not None:
            text = json.dumps(model.forms.record(), indent=2, ensure_ascii=False)
            (folder / disk.FORMS).write_text(f"{text}\n", encoding="utf-8")
        (folder / "README.md").write_text(card, encoding="utf-8")


def replace_model(directory: pathlib.Path, model: Model, *, card: str) -> None:
    """Writes a model in place of the model directory that may be there.

    Args:
        directory: may exist, if it is a model directory.
        model: the model to write.
        card: README.md of the directory.

    Raises:
        FileExistsError: the directory holds something other than a model.
    """
    if not (directory / "config.json").exists():
        write_model(directory, model, card=card)
        return
    new, old = (directory.with_name(f".{directory.name}.{which}") for which in ("new", "old"))
    for path in (new, old):
        shutil.rmtree(path, ignore_errors=True)
    write_model(new, model, card=card)
    directory.rename(old)
    new.rename(directory)
    with contextlib.suppress(OSError):
        shutil.rmtree(old)


def pack_models(
    parts: Sequence[pathlib.Path],
    out: pathlib.Path,
    *,
    name: str,
    dtype: str = "float32",
    card: str | None = None,
    rest_of: pathlib.Path | None = None,
) -> Model:
    """Writes one model directory of several: a base, perhaps an upsampler and a CLIP.

    Args:
        parts: model directories, or parts of models as training writes them; where two have a
            stage, the later one's is taken.
        out: must not exist, or be empty.
        name: name of the new model.
        dtype: type of the stored weights; "float16" is half the size and rounds them to 11 bits.
        card: README.md of the directory; by default those of the parts, one after the other.
        rest_of: a model directory that has the stages that are missing among the parts; the new
            one refers to it for those, and for weights that are the same as the parts'.

    Raises:
        InputError: there is no base among them, two have different tokenizers, or the dtype is
            not known.
    """
    checks.one_of("dtype", dtype, ("float32", "float16"))
    models = {path: read_model(path, whole=False) for path in parts}
    stages: dict[str, Any] = {}
    clip, rest, forms = None, None, None
    first = next((p for p in parts if models[p].stages), None)
    for path, model in models.items():
        if first is not None and model.stages:
            _check_tokenizers(path, model, first, models[first])
        stages |= model.stages
        clip, forms = model.clip or clip, model.forms if "base" in model.stages else forms
    if first is None or "base" not in stages:
        raise InputError(f"there is no base among {', '.join(map(str, parts))}; a model needs one.")
    if rest_of is not None:
        other = read_model(rest_of)
        _check_tokenizers(rest_of, other, first, models[first])
        stages, clip = {**other.stages, **stages}, clip or other.clip
        same = [name for name in other.stages if _same(stages[name][1], other.stages[name][1])]
        if clip is not None and other.clip is not None and _same(clip[2], other.clip[2]):
            same.append("clip")
        rest = Rest(rest_of, same)
    packed = Model(name, models[first].tokenizer, stages, clip, forms)
    cards = [_card_of_part(path, model) for path, model in models.items()]
    card = card or "\n".join([f"# {name}\n\nMade of:\n", *cards])
    try:
        write_model(out, packed, card=card, dtype=dtype, rest=rest)
    except FileExistsError as error:
        raise InputError(str(error)) from None
    return packed


def _card_of_part(path: pathlib.Path, model: Model) -> str:
    """The card of a part, one level of headings down."""
    file = path / "README.md"
    text = file.read_text("utf-8") if file.exists() else ""
    return (text or f"# {model.name}\n").replace("# ", "## ", 1)


def _same(a: Params, b: Params) -> bool:
    """Whether parameters are equal in names, shapes and every bit."""
    a, b = flatten(a), flatten(b)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _check_tokenizers(path: pathlib.Path, model: Model, first: pathlib.Path, other: Model) -> None:
    """Refuses tokenizers of different kinds or sizes, or with different ids for one sentence."""
    kinds = [
        (t.kind, t.vocab_size, tuple(t.encode(_EVERYTHING)))
        for t in (model.tokenizer, other.tokenizer)
    ]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"{str(path)!r} and {str(first)!r} have different tokenizers, so they do not go into "
            "one model; train them with the same."
        )
