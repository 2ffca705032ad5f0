"""Models made ready to draw: functions, and parameters where and as they are wanted."""

import dataclasses
import pathlib
from typing import Any

import jax

from glide_jax import checks, compiling
from glide_jax.errors import InputError
from glide_jax.model_dir.reading import Model, parameter_count, read_model
from glide_jax.model_dir.schema import StageConfig
from glide_jax.model_dir.weights import check_weights, pack_weights, wrap_apply
from glide_jax.networks.cpu.choice import prepared
from glide_jax.sampling import programs
from glide_jax.sampling.settings import StageSettings, from_config
from glide_jax.sampling.stages import ClipStage, clip_stage, stage
from glide_jax.tokenizers import Tokenizer
from glide_jax.tokenizers.forms import Forms
from glide_jax.types import Params, Stage


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model as functions and parameters on the device."""

    name: str
    tokenizer: Tokenizer
    stages: dict[str, Stage]
    sampling: dict[str, StageSettings]
    configs: dict[str, StageConfig]
    params: dict[str, Params] = dataclasses.field(default_factory=dict)
    clip: ClipStage | None = None
    clip_tokenizer: Tokenizer | None = None
    exported: bool = False  # stages are programs, which have no gradient
    weights: str = "float32"  # how the stages' parameters are kept
    dtype: str = "float32"  # the type that networks compute in
    parameter_count: int = 0  # all parts as trained, however they are kept
    forms: Forms | None = None  # what its base was trained to understand, if that is known
    device: Any = None  # where it draws; None is JAX's default


def device_of(device: Any, dtype: str) -> Any:
    """The first device of a kind (cpu, gpu or tpu); one of JAX's is itself, None its default.

    Raises:
        InputError: there is none of that name, or it cannot compute in the dtype.
    """
    if device is not None and not isinstance(device, jax.Device):
        checks.one_of("device", device, ("cpu", "gpu", "tpu"))
        try:
            device = jax.local_devices(backend=device)[0]
        except RuntimeError:
            raise InputError(
                f"device is {device!r}, but JAX finds none here; `glide-jax doctor` lists what "
                "there is."
            ) from None
    compiling.check_dtype(dtype, None if device is None else device.platform)
    return device


def load(
    source: pathlib.Path | Model,
    dtype: str = "float32",
    convolutions: str = "auto",
    *,
    program: pathlib.Path | None = None,
    offload: bool = False,
    weights: str = "float32",
    device: Any = None,
) -> Loaded:
    """A model, ready to draw in `dtype`.

    Args:
        source: its directory, or itself.
        dtype: the type that networks compute in.
        convolutions: their algorithm, see `prepared`.
        program: a file that `write_program` wrote, whose networks are used.
        offload: the stages' parameters stay on the host.
        weights: how the stages' parameters are kept, see `pack_weights`.
        device: where it draws; None is JAX's default.

    Raises:
        InputError: the model, the program or a choice is not possible.
    """
    check_weights(weights, program)
    if convolutions == "auto" and weights != "float32":
        convolutions = "direct"  # transformed kernels would take the memory that is to be saved
    model = source if isinstance(source, Model) else read_model(source)
    trained = {name: tree for name, (_, tree) in model.stages.items()}
    params = {
        name: pack_weights(
            prepared(model.stages[name][0].model, tree, convolutions, dtype), weights
        )
        for name, tree in trained.items()
    }
    if model.clip is not None:
        params["clip"] = trained["clip"] = model.clip[2]
    loaded = _without_weights(model, source, dtype, weights)
    stages = loaded.stages
    if program is not None:
        stages = programs.read_program(program, loaded.configs, stages, params, dtype)
    return dataclasses.replace(
        loaded,
        stages=stages,
        params={
            name: jax.device_get(tree)
            if offload and name in stages
            else jax.device_put(tree, device)
            for name, tree in params.items()
        },
        device=device,
        exported=program is not None,
        parameter_count=parameter_count(trained),
    )


def outline(
    source: pathlib.Path | Model, dtype: str = "float32", *, exported: bool = False
) -> Loaded:
    """A model without its weights: enough to check calls, and nothing draws with it.

    Args:
        source: its directory, or itself.
        dtype: the type that networks would compute in.
        exported: whether an exported program would be used.

    Raises:
        InputError: the model's config is broken.
    """
    model = source if isinstance(source, Model) else read_model(source, weights=False)
    return dataclasses.replace(_without_weights(model, source, dtype), exported=exported)


def _without_weights(
    model: Model, source: pathlib.Path | Model, dtype: str, weights: str = "float32"
) -> Loaded:
    where = model.name if isinstance(source, Model) else source / "config.json"
    configs = {name: config for name, (config, _) in model.stages.items()}
    clip, clip_tokenizer = None, None
    if model.clip is not None:
        config, clip_tokenizer, _ = model.clip
        clip = clip_stage(config, dtype)
    return Loaded(
        name=model.name,
        tokenizer=model.tokenizer,
        stages={
            name: stage(config, dtype, wrap_apply(weights)) for name, config in configs.items()
        },
        sampling={
            name: from_config(config.sampling, f"{where}: {name}.sampling")
            for name, config in configs.items()
        },
        configs=configs,
        clip=clip,
        clip_tokenizer=clip_tokenizer,
        weights=weights,
        dtype=dtype,
        forms=model.forms,
    )
