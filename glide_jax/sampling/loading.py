"""Models made ready to draw: functions, and parameters where and as they are wanted."""

import dataclasses
import pathlib

import jax

from glide_jax.model_dir.reading import read_model
from glide_jax.model_dir.schema import StageConfig
from glide_jax.model_dir.weights import check_weights, pack_weights, wrap_apply
from glide_jax.networks.cpu.choice import prepared
from glide_jax.sampling import programs
from glide_jax.sampling.settings import StageSettings, from_config
from glide_jax.sampling.stages import ClipStage, clip_stage, stage
from glide_jax.tokenizers import Tokenizer
from glide_jax.types import Params, Stage


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model as functions and parameters on the device."""

    name: str
    tokenizer: Tokenizer
    stages: dict[str, Stage]
    sampling: dict[str, StageSettings]
    configs: dict[str, StageConfig]
    params: dict[str, Params]
    clip: ClipStage | None = None
    clip_tokenizer: Tokenizer | None = None
    exported: bool = False  # stages are programs, which have no gradient
    weights: str = "float32"  # how the stages' parameters are kept
    dtype: str = "float32"  # the type that networks compute in


def load(
    directory: pathlib.Path,
    dtype: str = "float32",
    convolutions: str = "auto",
    *,
    program: pathlib.Path | None = None,
    offload: bool = False,
    weights: str = "float32",
) -> Loaded:
    """A model directory, ready to draw on the default device in `dtype`.

    Args:
        directory: the model's.
        dtype: the type that networks compute in.
        convolutions: their algorithm, see `prepared`.
        program: a file that `write_program` wrote, whose networks are used.
        offload: the stages' parameters stay on the host.
        weights: how the stages' parameters are kept, see `pack_weights`.

    Raises:
        InputError: the model, the program or a choice is not possible.
    """
    check_weights(weights, program)
    if convolutions == "auto" and weights != "float32":
        convolutions = "direct"  # transformed kernels would take the memory that is to be saved
    model = read_model(directory)
    params = {
        name: pack_weights(prepared(config.model, params, convolutions, dtype), weights)
        for name, (config, params) in model.stages.items()
    }
    where = directory / "config.json"
    configs = {name: config for name, (config, _) in model.stages.items()}
    stages = {name: stage(config, dtype, wrap_apply(weights)) for name, config in configs.items()}
    if program is not None:
        stages = programs.read_program(program, configs, stages, params, dtype)
    clip, clip_tokenizer = None, None
    if model.clip is not None:
        config, clip_tokenizer, params["clip"] = model.clip
        clip = clip_stage(config, dtype)
    return Loaded(
        name=model.name,
        tokenizer=model.tokenizer,
        stages=stages,
        sampling={
            name: from_config(config.sampling, f"{where}: {name}.sampling")
            for name, config in configs.items()
        },
        configs=configs,
        params={
            name: jax.device_get(tree) if offload and name in stages else jax.device_put(tree)
            for name, tree in params.items()
        },
        clip=clip,
        clip_tokenizer=clip_tokenizer,
        exported=program is not None,
        weights=weights,
        dtype=dtype,
    )
