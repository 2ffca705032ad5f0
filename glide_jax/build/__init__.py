"""From configs to functions and tables: the only reader of configs."""

import importlib
from typing import TYPE_CHECKING

from glide_jax.build import guides, sampling
from glide_jax.build.export import pack, save
from glide_jax.build.initial import initialiser, shapes
from glide_jax.build.loading import Loaded, load
from glide_jax.build.models import (
    BOXED,
    ClipStage,
    Model,
    StageConfig,
    boxed,
    clip_stage,
    fields,
    find,
    known_fields,
    parameter_count,
    read,
    stage,
    stage_configs,
)
from glide_jax.build.sampling import PRESETS, Sampling
from glide_jax.build.texts import encoder

if TYPE_CHECKING:
    from glide_jax.build.run_config import change, facts, read_config
    from glide_jax.build.session import train
    from glide_jax.build.starting import adopt

__all__ = [
    "BOXED",
    "PRESETS",
    "ClipStage",
    "Loaded",
    "Model",
    "Sampling",
    "StageConfig",
    "adopt",
    "boxed",
    "change",
    "clip_stage",
    "encoder",
    "facts",
    "fields",
    "find",
    "guides",
    "initialiser",
    "known_fields",
    "load",
    "pack",
    "parameter_count",
    "read",
    "read_config",
    "sampling",
    "save",
    "shapes",
    "stage",
    "stage_configs",
    "train",
]
_LATER = {
    "adopt": "starting",
    "change": "run_config",
    "facts": "run_config",
    "read_config": "run_config",
    "train": "session",
}


def __getattr__(name: str):
    """What training needs is imported when it is first asked for: sampling has no use for it."""
    if name in _LATER:
        return getattr(importlib.import_module(f"glide_jax.build.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
