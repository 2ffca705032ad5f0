"""The model that a run starts from: found, compared with the run's config, grown."""

import contextlib
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from glide_jax import trees
from glide_jax.data import masks
from glide_jax.errors import InputError
from glide_jax.model_dir import disk, reading, schema
from glide_jax.networks import zoo
from glide_jax.sampling import settings
from glide_jax.training import clip_objective, optim
from glide_jax.training.config import flat
from glide_jax.training.growing import add_attention, widen_stem
from glide_jax.types import Params

# All kinds of `data.masks` but the one that erases everything, which has a share of its own.
INPAINTING = tuple(kind for kind in masks.KINDS if kind != "everything")
_FREE = ("inpaint", "dropout", "attention")  # of the network, may be otherwise in the run
_OF_WORDS = ("vocab_size", "text_context")  # and these where what they size is drawn anew


def adopt(config: ConfigDict, directory: pathlib.Path, stage: str) -> ConfigDict:
    """A config whose network, diffusion and sampling are a model directory's, to go on from it.

    Raises:
        InputError: the directory is no model or has no such stage.
    """
    found = disk.read_config(directory)
    if not isinstance(found.get(stage), dict):
        raise InputError(f"{str(directory)!r} has no {stage}; it has {', '.join(found)}.")
    where = f"{directory / 'config.json'}: {stage}"
    part = schema.parse_section(schema.StageConfig, found[stage], where)
    with config.unlocked():
        config.model = dataclasses.asdict(part.model)
        config.diffusion.update(noise_schedule=part.noise_schedule, prediction=part.prediction)
        config.sampling = settings.from_config(part.sampling, f"{where}.sampling").record()
        config.train.init_from = str(directory)
        config.name = f"{found.get('name', directory.name)}-finetuned"
        if part.model.upsampler:
            small = found.get("base", {}).get("model", {}).get("image_size")
            config.data.low_res = small or part.model.image_size // 4
        if part.model.inpaint:
            config.data.update(masks=INPAINTING, whole_mask_fraction=0.1)
    return config


def parameters(
    config: ConfigDict, part: Any, whole: reading.Model, fresh: Callable[[jax.Array], Params]
) -> Params:
    """The parameters of the model that the run starts from, grown where the config's is larger.

    It may have inpainting planes and attention that the other has not; the network is the same
    until it is trained, but for what `train.redraw` names, whose shape may be another.

    Args:
        config: of the run.
        part: the config's `StageConfig` or `ClipConfig`.
        whole: the model to start from.
        fresh: a key to the parameters of the config's network, untrained.

    Raises:
        InputError: the model is another than the config's, or it has nothing of that name.
    """
    draw = functools.cache(lambda: jax.jit(fresh)(jax.random.key(config.seed)))
    want = jax.eval_shape(fresh, jax.random.key(config.seed))
    params = _grown(config, part, whole, draw, want)
    if config.train.redraw:
        anew = optim.matching(params, config.train.redraw, "redraw")
        params = jax.tree.map(lambda new, b, a: b if new else a, anew, draw(), params)
    for (path, have), like in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(want), strict=True
    ):
        if np.shape(have) != like.shape:
            raise InputError(
                f"{_where(config)} has {trees.path_of(path)} of shape {np.shape(have)}, and the "
                f"config's network {like.shape}; train.redraw may name it, to draw it anew."
            )
    return params


def has_new_words(config: ConfigDict) -> bool:
    """Whether a run that starts from a model draws its embedding of tokens anew.

    Then tokens need not mean what they meant, and the run makes a tokenizer of its own data.
    """
    with contextlib.suppress(re.error):  # which `parameters` tells of
        return any(re.search(pattern, "text/token_embedding") for pattern in config.train.redraw)
    return False


def _where(config: ConfigDict) -> str:
    return f"train.init_from {config.train.init_from!r}"


def _grown(
    config: ConfigDict, part: Any, whole: reading.Model, draw: Callable[[], Params], want: Any
) -> Params:
    where = _where(config)
    free = (*_FREE, *(_OF_WORDS if config.train.redraw else ()))
    if isinstance(part, zoo.ClipConfig):
        if whole.clip is None:
            raise InputError(f"{where} has no CLIP to start from.")
        check_same(where, dataclasses.asdict(whole.clip[0]), dataclasses.asdict(part), "model.",
                    ("logit_scale", *free))  # fmt: skip
        return clip_objective.with_logit_scale(whole.clip[2], whole.clip[0].logit_scale)
    name = "upsample" if part.model.upsampler else "base"
    if name not in whole.stages:
        raise InputError(f"{where} has no {name} to start from.")
    have, params = whole.stages[name]
    check_same(where, dataclasses.asdict(have.model), dataclasses.asdict(part.model), "model.",
                free)  # fmt: skip
    diffusion = lambda p: dict(noise_schedule=p.noise_schedule, prediction=p.prediction)
    check_same(where, diffusion(have), diffusion(part), "diffusion.", ())
    if have.model.inpaint and not part.model.inpaint:
        raise InputError(f"{where} is an inpainting model; so must the config's be.")
    old, new = set(have.model.attention), set(part.model.attention)
    if not old <= new:
        raise InputError(f"{where} has attention at {sorted(old - new)}; so must the config's.")
    if old != new:
        params = add_attention(params, draw())
    if have.model.inpaint != part.model.inpaint:
        params = widen_stem(params, want)
    return params


def check_same(where: str, have: dict, want: dict, prefix: str, free: tuple[str, ...]) -> None:
    have, want = flat(have, prefix), flat(want, prefix)
    for name in want:
        if have[name] != want[name] and name.removeprefix(prefix) not in free:
            raise InputError(
                f"{where} has {name} = {have[name]!r}, and the config {want[name]!r}; they must be "
                "equal."
            )
