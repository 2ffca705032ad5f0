"""The model that a run makes: at its end, or from its newest checkpoint while it goes on."""

import dataclasses
import pathlib
from typing import Any

from glide_jax import checks
from glide_jax.checkpoints.store import read_newest
from glide_jax.data import catalogue
from glide_jax.data.readers import procedural
from glide_jax.errors import InputError
from glide_jax.model_dir import reading
from glide_jax.networks import initial, zoo
from glide_jax.tokenizers import Tokenizer
from glide_jax.tokenizers.forms import Forms
from glide_jax.training import clip_objective, folders, init_from, matching, sketching
from glide_jax.training.config import CHECKPOINTS, TrainConfig, kept_config


def as_model(
    config: TrainConfig, tokenizer: Tokenizer, start: reading.Model | None, params: Any
) -> reading.Model:
    """The model of a run's parameters, with the other stages of the model that it started from.

    Args:
        config: the run's.
        tokenizer: the run's.
        start: the model that it started from, if its other stages still fit.
        params: a moving average, on the host.
    """
    stages, clip = (dict(start.stages), start.clip) if start else ({}, None)
    forms = start.forms if start else None
    if isinstance(config.part, zoo.ClipConfig):
        params, scale = clip_objective.without_logit_scale(params)
        part = dataclasses.replace(config.part, logit_scale=scale)
        clip, tokenizer = (part, tokenizer, params), start.tokenizer if start else tokenizer
    else:
        stages[config.stage] = (config.part, sketching.without_sketcher(params))
        own = config.stage == "base" and not config.distill.what  # a student knows its teacher's
        forms = _forms(config) if own else forms
    return reading.Model(config.name, tokenizer, stages, clip, forms)


def read_run(workdir: pathlib.Path, models: pathlib.Path) -> tuple[reading.Model, int]:
    """The model that a run is at by its newest checkpoint, and the step of that.

    The run may go on meanwhile: nothing in its folder is changed.

    Args:
        workdir: the run's.
        models: the folder of downloaded models, by name.

    Raises:
        InputError: there is no checkpoint yet, or what it makes cannot draw alone.
    """
    shown = checks.shown(str(workdir), 200)
    config, tokenizer = kept_config(workdir), folders.kept_tokenizer(workdir)
    if tokenizer is None:
        raise InputError(f"{shown} has no tokenizer/spec.json, so its run cannot be drawn with.")
    start = None
    if config.train.init_from and not init_from.has_new_words(config):
        start = reading.read_model(reading.find_model(config.train.init_from, models))
    if config.stage != "base" and start is None:
        raise InputError(
            f"the run in {shown} trains a part ({config.stage}) without a base, which draws "
            "nothing alone; at its end, `glide-jax pack` joins it with a base."
        )
    like = initial.shapes(config.model)
    if isinstance(config.part, zoo.ClipConfig):
        like = clip_objective.with_logit_scale(like)
    if config.objective == "sketches":
        like = sketching.with_sketcher(like)
    averages = (matching.trained(config.distill, like),) * len(config.train.ema)
    step, ema = read_newest(workdir / CHECKPOINTS, "ema", averages)
    params = matching.drawn_with(config.distill, ema[0])
    model = as_model(config, tokenizer, start, params)
    return dataclasses.replace(model, name=f"{config.name}-step-{step}"), step


def _forms(config: TrainConfig) -> Forms | None:
    """The forms of the run's captions, where that is known; those of people's pictures are free."""
    if config.data.source != catalogue.ENDLESS:
        return None
    kinds = config.data.kinds or procedural.KINDS
    return procedural.Scenes(config.model.image_size, kinds=kinds, count=1).forms
