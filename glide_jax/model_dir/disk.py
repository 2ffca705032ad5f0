"""The raw files of a model directory: config.json, and weights as safetensors.

This module knows trees and files. The meaning of a config is the business of `schema`.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from glide_jax import checks, files
from glide_jax.errors import InputError
from glide_jax.trees import flatten, unflatten

# Types as safetensors names them; others, such as those of 8 bits, need scales to mean anything.
_FLOATS = ("F32", "F16", "BF16", "F64")
_DTYPES = (*_FLOATS, "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL")
FORMAT, VERSION = "glide_jax", 1
FORMS = "forms.json"  # what a model was trained to understand; a file that versions before lack


def write_config(directory: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Writes config.json, with the format's name and version in front."""
    text = json.dumps({"format": FORMAT, "version": VERSION, **config}, indent=2)
    (directory / "config.json").write_text(text + "\n", encoding="utf-8")


def read_config(directory: str | os.PathLike) -> dict[str, Any]:
    """The config of a model directory.

    Raises:
        InputError: there is no such directory, it holds no config.json, or that of another program.
    """
    directory = pathlib.Path(directory)
    path = directory / "config.json"
    if not os.path.isdir(directory):
        what = "is a file" if os.path.exists(directory) else "does not exist"
        name = checks.shown(str(directory), 200)
        raise InputError(f"model directory {name} {what}; give a directory's path.")
    if not path.exists():
        raise InputError(
            f"{str(directory)!r} is not a model directory: it has no config.json; PyTorch "
            "checkpoints become one by `glide-jax import`."
        )
    config = files.read_object(path)
    if (directory / "checkpoints").is_dir() and "format" not in config:
        raise InputError(
            f"{str(directory)!r} is the workdir of a run; the model that it leaves at its end is "
            f"{str(directory / 'model')!r}."
        )
    if config.get("format") != FORMAT:
        raise InputError(f"{str(path)!r} is not a glide_jax model: it lacks format {FORMAT!r}.")
    if config.get("version") != VERSION:
        raise InputError(
            f"{str(path)!r} has version {checks.shown(config.get('version'))}, but this glide_jax "
            f"reads version {VERSION}."
        )
    return config


def weights_file(directory: pathlib.Path, config: Mapping[str, Any], name: str) -> pathlib.Path:
    """The path of a part's weights.

    A model that shares parts with another may leave their files out and name the other, relative
    to itself, as `rest_of`: an inpainting base needs no upsampler of its own.

    Args:
        directory: the model's directory.
        config: the content of its config.json.
        name: base, upsample or clip.

    Raises:
        InputError: the file is not here, and `rest_of` is not a model directory.
    """
    path = directory / f"{name}.safetensors"
    if path.exists() or "rest_of" not in config:
        return path
    other = config["rest_of"]
    if not isinstance(other, str):
        raise InputError(f"{str(directory / 'config.json')!r} has rest_of "
                         f"{checks.shown(other)}; it must be "
                         "the path of a model directory.")  # fmt: skip
    read_config(directory / other)
    return directory / other / path.name


def write_weights(path: pathlib.Path, params: Mapping[str, Any], dtype: str = "float32") -> None:
    """Writes parameters, by path, to one safetensors file.

    Args:
        path: the file to write.
        params: a nested dict of arrays.
        dtype: "float32" or, at half the size and a rounding of 5e-4, "float16".

    Raises:
        InputError: a number is too large for the dtype.
    """
    from safetensors import numpy as safetensors

    flat = {name: np.asarray(leaf) for name, leaf in flatten(params).items()}
    largest = float(np.finfo(dtype).max)
    for name, leaf in flat.items():
        if leaf.size and np.abs(leaf).max() > largest:
            raise InputError(f"{name!r} has numbers too large for {dtype}; store float32.")
    flat = {name: np.ascontiguousarray(leaf, dtype) for name, leaf in flat.items()}
    path.write_bytes(safetensors.save(flat))  # the library's own writer makes files private


def read_weights(path: pathlib.Path, shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the parameters that `write_weights` wrote, nested and as float32.

    Names, shapes and types are compared before any number is read, so a file or a config that
    claims too much takes no memory.

    Args:
        path: a safetensors file.
        shapes: the parameter tree to fill; its leaves are arrays or ShapeDtypeStructs.

    Raises:
        InputError: the file is missing, broken, or belongs to another model.
    """
    want, where = flatten(shapes), f"weights {str(path)!r}"
    with _opened(path) as file:
        names = set(file.keys())
        for missing in sorted(want.keys() - names):
            raise InputError(f"{where} lack {missing!r}; they are another model's.")
        for extra in sorted(names - want.keys()):
            raise InputError(f"{where} hold {checks.shown(extra)}, which this model lacks.")
        for name, like in want.items():
            part = file.get_slice(name)
            shape, dtype = tuple(part.get_shape()), part.get_dtype()
            if shape != tuple(like.shape):
                raise InputError(
                    f"{where} have {name!r} of shape {checks.shown(shape)}, but the config says "
                    f"{tuple(like.shape)}."
                )
            if dtype not in _DTYPES:
                raise InputError(
                    f"{where} have {name!r} as {checks.shown(dtype)}; store them as one of "
                    f"{', '.join(_FLOATS)}."
                )
        out = {name: file.get_tensor(name).astype(np.float32) for name in want}
    for name, array in out.items():
        if not np.isfinite(array).all():
            raise InputError(f"{where} are damaged: {name!r} is not finite.")
    return unflatten(out)


def tensor_count(path: pathlib.Path) -> int:
    """How many tensors a safetensors file lists.

    Raises:
        InputError: the file is missing or broken.
    """
    with _opened(path) as file:
        return len(file.keys())


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    where = f"weights {str(path)!r}"
    if what := files.impostor(path):
        raise InputError(f"{where}: the file {what}.")
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{where} are missing.") from None
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        why = checks.printable(str(error)[:200]).rstrip(".")
        raise InputError(f"{where} cannot be read: {why}.") from None
