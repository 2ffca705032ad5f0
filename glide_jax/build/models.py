"""Model directories to functions and parameters, and back."""

import dataclasses
import difflib
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import checks, tokenizers
from glide_jax.build.initial import shapes
from glide_jax.build.sampling import DEFAULTS, Sampling
from glide_jax.cascade import Stage
from glide_jax.checkpoints import model_dir
from glide_jax.diffusion import parameterization, schedules
from glide_jax.errors import InputError
from glide_jax.models import zoo
from glide_jax.tokenizers import Tokenizer
from glide_jax.types import Params

T = TypeVar("T")
BOXED = pathlib.Path(__file__).parents[1] / "boxed"


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """A stage's part of config.json."""

    model: zoo.ModelConfig = zoo.BASE
    noise_schedule: str = "squaredcos_cap_v2"
    prediction: str = "eps"  # what the network's output means: "eps" or "v"
    sampling: Sampling = DEFAULTS

    def __post_init__(self):
        """Refuses what is not known."""
        checks.one_of("noise_schedule", self.noise_schedule, tuple(schedules.ALPHA_BARS))
        checks.one_of("prediction", self.prediction, parameterization.PREDICTIONS)


@dataclasses.dataclass(frozen=True)
class Model:
    """A model directory's content: configs with their parameters, float32 on the host."""

    name: str
    tokenizer: Tokenizer
    stages: Mapping[str, tuple[StageConfig, Params]]  # "base" and perhaps "upsample"
    clip: tuple[zoo.ClipConfig, Tokenizer, Params] | None = None


@dataclasses.dataclass(frozen=True)
class ClipStage:
    """The noise-aware CLIP as functions of its parameters."""

    log_prob: Callable[..., jax.Array]  # (params, x_t, t, text_embedding=) -> (b,)
    log_prob_clean: Callable[..., jax.Array]  # (params, x_0, text_embedding=) -> (b,)
    encode: Callable[..., jax.Array]  # (params, tokens, mask) -> (b, e)
    context: int


def known_fields(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from a mapping.

    Raises:
        InputError: an unknown field; the nearest known one is named.
    """
    _check_names(values, [field.name for field in dataclasses.fields(cls)], where)  # type: ignore[arg-type]
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _check_names(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise InputError(f"{where} has an unknown field {checks.shown(name)}; {hint}")


def fields(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from a config, types checked; lists become tuples, sections dataclasses.

    Raises:
        InputError: an unknown field or a value of another type than the field's default.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    _check_names(values, list(defaults), where)
    out = {}
    for name, value in values.items():
        default: Any = defaults[name]
        if dataclasses.is_dataclass(default) and isinstance(value, Mapping):
            kind: Any = type(default)
            value = fields(kind, value, f"{where}.{name}")
        value = tuple(value) if isinstance(value, list | tuple) else value
        if type(default) is float and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            like = "a section" if dataclasses.is_dataclass(default) else f"like {default!r}"
            raise InputError(f"{where}: {name} is {checks.shown(value)}; it must be {like}.")
        out[name] = value
    return known_fields(cls, out, where)


@functools.lru_cache
def stage(
    config: StageConfig, dtype: str, around: Callable[[Callable], Callable] = lambda apply: apply
) -> Stage:
    """The stage of a config. Cached: equal configs share their compiled programs.

    Args:
        config: the stage's.
        dtype: that it computes in.
        around: what its network's `apply` is put into, such as `plan.on_mesh`.
    """
    model = zoo.glide_model(config.model, jnp.dtype(dtype))
    apply = around(model.apply)
    alpha_bar = schedules.alpha_bar(config.noise_schedule)
    bind: Callable[..., Any] = lambda params: functools.partial(apply, {"params": params})
    network = bind
    if config.prediction == "v":
        network = lambda params: parameterization.predicting_v(bind(params), alpha_bar)
    return Stage(
        network=network,
        encode=lambda params, *text: bind(params)(*text, method="encode"),
        alpha_bar=alpha_bar,
        image_size=config.model.image_size,
        divisor=config.model.divisor,
        context=config.model.text_context,
        upsampler=config.model.upsampler,
        inpaint=config.model.inpaint,
    )


@functools.lru_cache
def clip_stage(config: zoo.ClipConfig, dtype: str) -> ClipStage:
    """The noise-aware CLIP of a config."""
    model = zoo.clip_model(config, jnp.dtype(dtype))
    apply: Callable[..., Any] = model.apply
    call = lambda method: (
        lambda params, *a, **named: apply({"params": params}, *a, **named, method=method)
    )
    log_prob = call("log_prob")
    clean = lambda params, x_0, text_embedding: log_prob(
        params, x_0, jnp.zeros(len(x_0), jnp.int32), text_embedding
    )
    return ClipStage(log_prob, clean, call("encode_text"), config.text_context)


def find(dir_or_name: str, models_folder: pathlib.Path) -> pathlib.Path:
    """The model directory that a user names: a path, a model in the box, or a downloaded one.

    Raises:
        InputError: there is none.
    """
    path = pathlib.Path(dir_or_name)
    try:
        if path.exists():
            return path
    except OSError as error:  # such as a name that is too long
        raise InputError(f"model {checks.shown(dir_or_name)}: {error.strerror}.") from None
    for folder in (BOXED, models_folder):
        if path.name == dir_or_name and (folder / dir_or_name / "config.json").exists():
            return folder / dir_or_name
    known = ", ".join(boxed()) or "none"
    raise InputError(
        f"model {dir_or_name!r} is neither a directory nor a known name; in the box: {known}."
    )


def boxed() -> list[str]:
    """Names of the models that ship inside the package."""
    return sorted(path.parent.name for path in BOXED.glob("*/config.json"))


def read(directory: pathlib.Path, *, whole: bool = True) -> Model:
    """Reads a model directory.

    Args:
        directory: its path.
        whole: whether there has to be a base; parts of a model, as training writes, have none.

    Raises:
        InputError: the directory is not a model, or something in it is missing or broken.
    """
    config, where = model_dir.read_config(directory), str(directory / "config.json")
    known = ("format", "version", "name", "tokenizer", "base", "upsample", "clip", "rest_of")
    _check_names(config, known, where)
    name = config.get("name", directory.resolve().name)
    if not isinstance(name, str) or not name.isprintable():
        raise InputError(f"{where}: name is {checks.shown(name)}; it must be printable text.")
    tokenizer = tokenizers.load(_section(config, "tokenizer", where), directory)
    weights = lambda name, shapes: model_dir.read_weights(
        model_dir.weights_file(directory, config, name), shapes
    )
    parts = _stage_configs(config, where)
    if whole and "base" not in parts:
        raise InputError(
            f"{where} has no section 'base', but every model has a base; `glide-jax pack` makes "
            "one of parts."
        )
    _check_stages(parts, tokenizer, where)
    stages = {name: (part, weights(name, shapes(part.model))) for name, part in parts.items()}
    clip = None
    if "clip" in config:
        part = _section(config, "clip", where)
        _check_names(part, ("model", "tokenizer"), f"{where}: clip")
        model = fields(zoo.ClipConfig, _section(part, "model", where), f"{where}: clip.model")
        clip_tokenizer = tokenizers.load(_section(part, "tokenizer", where), directory)
        _check_vocabulary(clip_tokenizer, model.vocab_size, f"{where}: clip.model")
        if "base" in parts:
            _check_clip(model, parts["base"], where)
        clip = (model, clip_tokenizer, weights("clip", shapes(model)))
    return Model(name, tokenizer, stages, clip)


def stage_configs(directory: pathlib.Path) -> dict[str, StageConfig]:
    """What a model directory says of its stages; nothing else of it is read.

    Raises:
        InputError: config.json is missing or broken.
    """
    return _stage_configs(model_dir.read_config(directory), str(directory / "config.json"))


def _stage_configs(config: Mapping[str, Any], where: str) -> dict[str, StageConfig]:
    return {
        name: fields(StageConfig, _section(config, name, where), f"{where}: {name}")
        for name in ("base", "upsample")
        if name in config
    }


def _check_stages(parts: Mapping[str, StageConfig], tokenizer: Tokenizer, where: str) -> None:
    """What the sections of config.json must be to each other."""
    for name, part in parts.items():
        if part.model.upsampler != (name == "upsample"):
            raise InputError(
                f"{where}: {name}.model: upsampler is {part.model.upsampler}; it must be "
                f"{name == 'upsample'}."
            )
        if part.model.text_width:
            _check_vocabulary(tokenizer, part.model.vocab_size, f"{where}: {name}.model")
    if {"base", "upsample"} - parts.keys():
        return
    small, large = parts["base"].model, parts["upsample"].model
    if large.image_size % small.image_size:
        raise InputError(
            f"{where}: upsample.model: image_size is {large.image_size}; it must be a multiple of "
            f"the base's {small.image_size}."
        )


def _check_clip(config: zoo.ClipConfig, base: StageConfig, where: str) -> None:
    if config.image_size != base.model.image_size:
        raise InputError(
            f"{where}: clip.model: image_size is {config.image_size}; it must be the base's "
            f"{base.model.image_size}."
        )
    steps = len(schedules.alpha_bar(base.noise_schedule))
    if config.num_timesteps < steps:
        raise InputError(
            f"{where}: clip.model: num_timesteps is {config.num_timesteps}; it must be at least "
            f"the base's {steps}."
        )


def _check_vocabulary(tokenizer: Tokenizer, vocab_size: int, where: str) -> None:
    if tokenizer.vocab_size > vocab_size:
        raise InputError(
            f"{where}: vocab_size is {vocab_size}; it must be at least the tokenizer's "
            f"{tokenizer.vocab_size}."
        )


def _section(config: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    part = config.get(name)
    if not isinstance(part, Mapping):
        raise InputError(f"{where} has no section {name!r}.")
    return dict(part)


def parameter_count(params: Params) -> int:
    """Numbers in a tree."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
