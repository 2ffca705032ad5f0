"""From configs to functions and tables: the only reader of configs."""

import dataclasses
import difflib
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import checks, tokenizers
from glide_jax.cascade import Stage
from glide_jax.checkpoints import model_dir
from glide_jax.diffusion import parameterization, schedules
from glide_jax.errors import InputError
from glide_jax.files import replacing_dir
from glide_jax.models import zoo
from glide_jax.tokenizers import Tokenizer
from glide_jax.types import Cond, Params

T = TypeVar("T")
BOXED = pathlib.Path(__file__).parent / "boxed"


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a stage is sampled unless a caller says otherwise."""

    steps: str = "100"
    sampler: str = "ddpm"
    guidance_scale: float = 3.0
    eta: float = 0.0
    temperature: float = 1.0


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """A stage's part of config.json."""

    model: zoo.ModelConfig = zoo.BASE
    noise_schedule: str = "squaredcos_cap_v2"
    prediction: str = "eps"  # what the network's output means: "eps" or "v"
    sampling: Sampling = Sampling()


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

    log_prob: Callable[..., jax.Array]  # (params, x_t, t, text_embedding) -> (b,)
    encode: Callable[..., jax.Array]  # (params, tokens, mask) -> (b, e)
    context: int


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model as functions and parameters on the device."""

    name: str
    tokenizer: Tokenizer
    stages: dict[str, Stage]
    sampling: dict[str, Sampling]
    params: dict[str, Params]
    clip: ClipStage | None = None
    clip_tokenizer: Tokenizer | None = None


def known_fields(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from a mapping.

    Raises:
        InputError: an unknown field; the nearest known one is named.
    """
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise InputError(f"{where} has an unknown field {name!r}; {hint}")
    return cls(**values)


def fields(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from a config, types checked; lists become tuples, sections dataclasses.

    Raises:
        InputError: an unknown field or a value of another type than the field's default.
    """
    out = {}
    for name, value in values.items():
        default: Any = getattr(cls, name, None)
        if dataclasses.is_dataclass(default) and isinstance(value, Mapping):
            kind: Any = type(default)
            value = fields(kind, value, f"{where}.{name}")
        value = tuple(value) if isinstance(value, list | tuple) else value
        if type(default) is float and type(value) is int:
            value = float(value)
        if default is not None and type(value) is not type(default):
            raise InputError(f"{where} has {name}={value!r}, but it should be like {default!r}.")
        out[name] = value
    return known_fields(cls, out, where)


@functools.lru_cache
def stage(config: StageConfig, dtype: str) -> Stage:
    """The stage of a config. Cached: equal configs share their compiled programs."""
    model = zoo.glide_model(config.model, jnp.dtype(dtype))
    alpha_bar = schedules.alpha_bar(config.noise_schedule)
    bind: Callable[..., Any] = lambda params: functools.partial(model.apply, {"params": params})
    checks.one_of("prediction", config.prediction, parameterization.PREDICTIONS)
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
    call = lambda method: lambda params, *a: apply({"params": params}, *a, method=method)
    return ClipStage(call("log_prob"), call("encode_text"), config.text_context)


@functools.lru_cache
def shapes(config: zoo.ModelConfig | zoo.ClipConfig) -> Mapping[str, Any]:
    """The parameter tree of a config as ShapeDtypeStructs."""
    size = config.image_size
    image, t = jnp.zeros((1, size, size, 3)), jnp.zeros((1,), jnp.int32)
    tokens = jnp.zeros((1, config.text_context), jnp.int32)
    mask = tokens == 0
    key = jax.random.key(0)
    if isinstance(config, zoo.ClipConfig):
        clip = zoo.clip_model(config)
        init = lambda: clip.init(key, image, t, tokens, mask, method="initialise")
    else:
        model = zoo.glide_model(config)
        cond = Cond(low_res=image)
        init = lambda: model.init(key, tokens, mask, image, t, cond, method="initialise")
    return jax.eval_shape(init)["params"]


def find(dir_or_name: str, models_folder: pathlib.Path) -> pathlib.Path:
    """The model directory that a user names: a path, a model in the box, or a downloaded one.

    Raises:
        InputError: there is none.
    """
    path = pathlib.Path(dir_or_name)
    if path.exists():
        return path
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


def read(directory: pathlib.Path) -> Model:
    """Reads a model directory.

    Raises:
        InputError: the directory is not a model, or something in it is missing or broken.
    """
    config, where = model_dir.read_config(directory), str(directory / "config.json")
    tokenizer = tokenizers.load(_section(config, "tokenizer", where), directory)
    weights = lambda name, shapes: model_dir.read_weights(directory / f"{name}.safetensors", shapes)
    stages, clip = {}, None
    for name in ("base", "upsample"):
        if name in config:
            part = fields(StageConfig, _section(config, name, where), f"{where}: {name}")
            if part.model.text_width and tokenizer.vocab_size > part.model.vocab_size:
                raise InputError(
                    f"{where}: the tokenizer has {tokenizer.vocab_size} ids, but the {name} "
                    f"network only {part.model.vocab_size}."
                )
            stages[name] = (part, weights(name, shapes(part.model)))
    if "base" not in stages:
        raise InputError(f"{where} has no base model.")
    if "clip" in config:
        part = _section(config, "clip", where)
        model = fields(zoo.ClipConfig, _section(part, "model", where), f"{where}: clip.model")
        clip_tokenizer = tokenizers.load(_section(part, "tokenizer", where), directory)
        clip = (model, clip_tokenizer, weights("clip", shapes(model)))
    return Model(str(config.get("name", directory.name)), tokenizer, stages, clip)


def load(directory: pathlib.Path, dtype: str = "float32") -> Loaded:
    """A model directory, ready to run on the default device in `dtype`.

    Raises:
        InputError: see `read`.
    """
    model = read(directory)
    params = {name: params for name, (_, params) in model.stages.items()}
    clip, clip_tokenizer = None, None
    if model.clip is not None:
        config, clip_tokenizer, params["clip"] = model.clip
        clip = clip_stage(config, dtype)
    return Loaded(
        name=model.name,
        tokenizer=model.tokenizer,
        stages={name: stage(config, dtype) for name, (config, _) in model.stages.items()},
        sampling={name: config.sampling for name, (config, _) in model.stages.items()},
        params=jax.device_put(params),
        clip=clip,
        clip_tokenizer=clip_tokenizer,
    )


def save(directory: pathlib.Path, model: Model, *, card: str, dtype: str = "float32") -> None:
    """Writes a model directory that `read` reads; whole or not at all.

    Args:
        directory: must not exist, or be empty.
        model: what to write.
        card: README.md of the directory.
        dtype: of the stored weights, "float32" or "float16".

    Raises:
        FileExistsError: something is in the way.
    """
    with replacing_dir(directory) as folder:
        config: dict[str, Any] = {"name": model.name, "tokenizer": model.tokenizer.save(folder)}
        write = lambda name, params: model_dir.write_weights(
            folder / f"{name}.safetensors", params, dtype
        )
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
        model_dir.write_config(folder, config)
        (folder / "README.md").write_text(card, encoding="utf-8")


def _section(config: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    part = config.get(name)
    if not isinstance(part, Mapping):
        raise InputError(f"{where} has no section {name!r}.")
    return dict(part)


def parameter_count(params: Params) -> int:
    """Numbers in a tree."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
