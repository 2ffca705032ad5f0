"""Reads model directories: configs, and parameters on the host."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from glide_jax import checks, files, tokenizers
from glide_jax.diffusion import schedules
from glide_jax.errors import InputError
from glide_jax.model_dir import disk, hub
from glide_jax.model_dir.schema import StageConfig, check_names, parse_section
from glide_jax.networks import zoo
from glide_jax.networks.initial import shapes
from glide_jax.tokenizers import Tokenizer
from glide_jax.tokenizers.forms import Forms, parse_forms
from glide_jax.types import Params

_TENSORS_OF_A_LAYER = 8  # or more, of text and of pictures
BOXED = pathlib.Path(__file__).parents[1] / "boxed"


@dataclasses.dataclass(frozen=True)
class Model:
    """The content of a model directory: configs with their parameters, float32 on the host.

    Where weights were left out, the parameters are empty.
    """

    name: str
    tokenizer: Tokenizer
    stages: Mapping[str, tuple[StageConfig, Params]]  # "base" and perhaps "upsample"
    clip: tuple[zoo.ClipConfig, Tokenizer, Params] | None = None
    forms: Forms | None = None  # those of its base's captions, if they are known


def find_model(dir_or_name: str, models_folder: pathlib.Path) -> pathlib.Path:
    """The model directory for a path, a name of a model in the box or downloaded, or an hf:// one.

    Raises:
        InputError: there is no such model.
    """
    if dir_or_name.startswith(hub.SCHEME):
        return hub.fetch(dir_or_name)
    path = files.expanded(dir_or_name)
    try:
        if path.exists():
            return path
    except OSError as error:  # such as a name that is too long
        raise InputError(f"model {checks.shown(dir_or_name)}: {error.strerror}.") from None
    for folder in (BOXED, files.expanded(models_folder)):
        if path.name == dir_or_name and (folder / dir_or_name / "config.json").exists():
            return folder / dir_or_name
    known = ", ".join(boxed_models()) or "none"
    raise InputError(
        f"model {dir_or_name!r} is neither a directory nor a known name; in the box: {known}."
    )


def boxed_models() -> list[str]:
    """Names of the models that ship inside the package."""
    return sorted(path.parent.name for path in BOXED.glob("*/config.json"))


def read_model(directory: pathlib.Path, *, whole: bool = True, weights: bool = True) -> Model:
    """Reads a model directory.

    Args:
        directory: path of the model directory.
        whole: whether there must be a base; the parts of a model that training writes have none.
        weights: whether weights are read, which for the released sizes takes many seconds.

    Raises:
        InputError: the directory is not a model, or something in it is missing or broken.
    """
    config, where = disk.read_config(directory), str(directory / "config.json")
    known = ("format", "version", "name", "tokenizer", "base", "upsample", "clip", "rest_of")
    check_names(config, known, where)
    name = checks.label(f"{where}: name", config.get("name", directory.resolve().name))
    tokenizer = tokenizers.load(_section(config, "tokenizer", where), directory)
    read = lambda name, model: _weights(disk.weights_file(directory, config, name), model)
    params = read if weights else lambda name, model: {}
    parts = stage_configs(directory, config)
    if whole and "base" not in parts:
        raise InputError(
            f"{where} has no section 'base', but every model has a base; `glide-jax pack` makes "
            "one of parts."
        )
    _check_stages(parts, tokenizer, where)
    stages = {name: (part, params(name, part.model)) for name, part in parts.items()}
    clip = None
    if "clip" in config:
        part = _section(config, "clip", where)
        check_names(part, ("model", "tokenizer"), f"{where}: clip")
        model = parse_section(
            zoo.ClipConfig, _section(part, "model", where), f"{where}: clip.model"
        )
        clip_tokenizer = tokenizers.load(_section(part, "tokenizer", where), directory)
        _check_vocabulary(clip_tokenizer, model.vocab_size, f"{where}: clip.model")
        if "base" in parts:
            _check_clip(model, parts["base"], where)
        clip = (model, clip_tokenizer, params("clip", model))
    return Model(name, tokenizer, stages, clip, read_forms(directory))


def read_forms(directory: pathlib.Path) -> Forms | None:
    """The forms of captions that a model was trained on; None where its directory does not say it.

    Raises:
        InputError: the file is damaged.
    """
    path = directory / disk.FORMS
    if not os.path.lexists(path):
        return None
    return parse_forms(files.read_object(path), str(path))


def _weights(path: pathlib.Path, model: zoo.ModelConfig | zoo.ClipConfig) -> Params:
    """The parameters of a network, whose size is held against its file before it is traced."""
    layers = model.text_layers if model.text_width else 0
    if isinstance(model, zoo.ClipConfig):
        layers += model.image_layers
    else:
        layers += len(model.channel_mult) * model.res_blocks
    if layers * _TENSORS_OF_A_LAYER > (count := disk.tensor_count(path)):
        raise InputError(
            f"weights {str(path)!r} lack tensors: they are {count}, and the config says "
            f"{layers} layers of {_TENSORS_OF_A_LAYER} or more."
        )
    return disk.read_weights(path, shapes(model))


def stage_configs(
    directory: pathlib.Path, config: Mapping[str, Any] | None = None
) -> dict[str, StageConfig]:
    """The configs of a model directory's stages, without reading weights.

    Raises:
        InputError: config.json is missing or broken.
    """
    config, where = config or disk.read_config(directory), str(directory / "config.json")
    return {
        name: parse_section(StageConfig, _section(config, name, where), f"{where}: {name}")
        for name in ("base", "upsample")
        if name in config
    }


def _check_stages(parts: Mapping[str, StageConfig], tokenizer: Tokenizer, where: str) -> None:
    """Refuses sections of config.json that contradict each other."""
    for name, part in parts.items():
        section, upsampler = f"{where}: {name}.model", part.model.upsampler
        right = upsampler == (name == "upsample")
        _check(right, section, "upsampler", upsampler, not upsampler)
        if part.model.text_width:
            _check_vocabulary(tokenizer, part.model.vocab_size, section)
    if {"base", "upsample"} <= parts.keys():
        low, size = parts["base"].model.image_size, parts["upsample"].model.image_size
        section, must = f"{where}: upsample.model", f"a multiple of the base's {low}"
        _check(size % low == 0, section, "image_size", size, must)


def _check_clip(config: zoo.ClipConfig, base: StageConfig, where: str) -> None:
    section, size = f"{where}: clip.model", config.image_size
    must = f"the base's {base.model.image_size}"
    _check(size == base.model.image_size, section, "image_size", size, must)
    steps, t = len(schedules.alpha_bar(base.noise_schedule)), config.num_timesteps
    _check(t >= steps, section, "num_timesteps", t, f"at least the base's {steps}")


def _check_vocabulary(tokenizer: Tokenizer, vocab_size: int, where: str) -> None:
    must = f"at least the tokenizer's {tokenizer.vocab_size}"
    _check(tokenizer.vocab_size <= vocab_size, where, "vocab_size", vocab_size, must)


def _check(right: bool, section: str, field: str, value: Any, must: Any) -> None:
    if not right:
        raise InputError(f"{section}: {field} is {value}; it must be {must}.")


def _section(config: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    part = config.get(name)
    if not isinstance(part, Mapping):
        raise InputError(f"{where} has no section {name!r}.")
    return dict(part)


def parameter_count(params: Params) -> int:
    """How many numbers the arrays of a tree hold."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
