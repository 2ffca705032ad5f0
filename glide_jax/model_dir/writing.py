"""Models to directories: written, replaced, put together of parts, and described."""

import contextlib
import dataclasses
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

_TOKENIZERS = (
    "{0!r} and {1!r} have different tokenizers, so they do not go into one model; train them with "
    "the same."
)

CARD = """# {name}

A GLIDE model directory, made by `glide-jax train` (glide_jax {version}).

| | |
|---|---|
| trained | {what}, {parameters:,} parameters |
| data | {source} |
| steps | {step:,} of batch {batch_size}, {images:,} images seen |
| started from | {init_from} |
| loss at the end | {loss} |
| weights | moving average, decay {ema} |

    {use}

The licence of the data holds for what it taught; say here which that is. The model knows what its
data showed, reproduces its biases, and has not been tested for any use.
"""


class Rest(NamedTuple):
    """Parts of a model whose weights lie in another's directory."""

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
        model: what to write.
        card: README.md of the directory.
        dtype: of the stored weights, "float32" or "float16".
        rest: what is not written again; its directory is named relative to this.

    Raises:
        FileExistsError: something is in the way.
    """

    def write(name: str, params: Params) -> None:
        if rest is None or name not in rest.parts:
            disk.write_weights(folder / f"{name}.safetensors", params, dtype)

    with replacing_dir(directory) as folder:
        config: dict[str, Any] = {"name": model.name, "tokenizer": model.tokenizer.save(folder)}
        if rest is not None:
            config["rest_of"] = os.path.relpath(rest.directory.resolve(), directory.resolve())
        for name, (part, params) in model.stages.items():
            config[name] = dataclasses.asdict(part)
            write(name, params)
        if model.clip is not None:
            clip, tokenizer, params = model.clip
            config["clip"] = {
                "model": dataclasses.asdict(clip),
                "tokenizer": tokenizer.save(folder),
            }
            write("clip", params)
        disk.write_config(folder, config)
        (folder / "README.md").write_text(card, encoding="utf-8")


def replace_model(
    directory: pathlib.Path, model: Model, *, card: str, dtype: str = "float32"
) -> None:
    """As `write_model`, in place of the model directory that may be there.

    Raises:
        FileExistsError: what is there is not a model directory.
    """
    if not (directory / "config.json").exists():
        write_model(directory, model, card=card, dtype=dtype)
        return
    new = directory.with_name(f".{directory.name}.new")
    old = directory.with_name(f".{directory.name}.old")
    for path in (new, old):
        shutil.rmtree(path, ignore_errors=True)
    write_model(new, model, card=card, dtype=dtype)
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
        name: of the new model.
        dtype: of the stored weights; float16 is half the size and rounds them to 11 bits.
        card: README.md of the directory; by default those of the parts, one after the other.
        rest_of: a model directory that has what is not among the parts; it is referred to for
            that, and for weights that are the same as the parts'.

    Raises:
        InputError: there is no base among them, two have different tokenizers, or the dtype is
            not known.
    """
    checks.one_of("dtype", dtype, ("float32", "float16"))
    stages: dict[str, Any] = {}
    clip, tokenizer, cards, first = None, None, [], None
    for path in parts:
        model = read_model(path, whole=False)
        if model.stages:
            if tokenizer is not None and _ids(model) != _ids(tokenizer):
                raise InputError(_TOKENIZERS.format(str(path), str(first)))
            tokenizer, first = tokenizer or model, first or path
        stages |= model.stages
        clip = model.clip or clip
        text = (path / "README.md").read_text("utf-8") if (path / "README.md").exists() else ""
        cards.append(text or f"# {model.name}\n")
    if tokenizer is None or "base" not in stages:
        raise InputError(f"there is no base among {', '.join(map(str, parts))}; a model needs one.")
    rest = None
    if rest_of is not None:
        other = read_model(rest_of)
        if _ids(other) != _ids(tokenizer):
            raise InputError(_TOKENIZERS.format(str(rest_of), str(first)))
        stages, clip = {**other.stages, **stages}, clip or other.clip
        same = [name for name in other.stages if _same(stages[name][1], other.stages[name][1])]
        if clip is not None and other.clip is not None and _same(clip[2], other.clip[2]):
            same.append("clip")
        rest = Rest(rest_of, same)
    packed = Model(name, tokenizer.tokenizer, stages, clip)
    joined = "\n".join(c.replace("# ", "## ", 1) for c in cards)
    try:
        text = card or f"# {name}\n\nMade of:\n\n{joined}"
        write_model(out, packed, card=text, dtype=dtype, rest=rest)
    except FileExistsError as error:
        raise InputError(str(error)) from None
    return packed


def _same(a: Params, b: Params) -> bool:
    """Whether parameters are equal in names, shapes and every bit."""
    a, b = flatten(a), flatten(b)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _ids(model: Model) -> tuple[Any, ...]:
    """What tells tokenizers apart: kind, size, and the ids of a sentence that has everything."""
    tokenizer = model.tokenizer
    sentence = "The quick brown fox jumps over 12 lazy dogs on a large white background; \u00e9."
    return tokenizer.kind, tokenizer.vocab_size, tuple(tokenizer.encode(sentence))
