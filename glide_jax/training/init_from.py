"""The parameters that a run starts from: a model's, compared with the run's config and grown."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from glide_jax import trees
from glide_jax.errors import InputError
from glide_jax.model_dir import reading, schema
from glide_jax.training import clip_objective, optim
from glide_jax.training.config import TrainConfig
from glide_jax.training.growing import add_attention, widen_stem
from glide_jax.types import Params

_FREE = ("inpaint", "dropout", "attention", "logit_scale")  # may differ from the model's
_SIZED_BY_WORDS = ("vocab_size", "text_context")  # so may these, where redraw covers their layers


def starting_parameters(
    config: TrainConfig, whole: reading.Model, fresh: Callable[[jax.Array], Params]
) -> Params:
    """The parameters of the model that the run starts from, grown where the config's is larger.

    The config's network may have inpainting planes and attention that the model has not. It
    computes what the model does until it is trained, except for what `train.redraw` names, whose
    shape may differ.

    Args:
        config: the run's.
        whole: the model to start from.
        fresh: a key to the parameters of the config's network, untrained.

    Raises:
        InputError: the model is another than the config's, or it has nothing of that name.
    """
    where = f"train.init_from {config.train.init_from!r}"
    draw = functools.cache(lambda: jax.jit(fresh)(jax.random.key(config.seed)))
    want = jax.eval_shape(fresh, jax.random.key(config.seed))
    params = _grown(config, where, whole, draw, want)
    if config.train.redraw:
        anew = optim.matching(params, config.train.redraw, "redraw")
        params = jax.tree.map(lambda new, b, a: b if new else a, anew, draw(), params)
    for (path, have), like in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(want), strict=True
    ):
        if np.shape(have) != like.shape:
            raise InputError(
                f"{where} has {trees.path_of(path)} of shape {np.shape(have)}, and the "
                f"config's network {like.shape}; train.redraw may name it, to draw it anew."
            )
    return params


def has_new_words(config: TrainConfig) -> bool:
    """Whether a run that starts from a model draws its embedding of tokens anew.

    Then tokens need not mean what they meant, and the run makes a tokenizer of its own data.
    """
    with contextlib.suppress(re.error):  # `starting_parameters` refuses that in a sentence
        return any(re.search(pattern, "text/token_embedding") for pattern in config.train.redraw)
    return False


def _grown(
    config: TrainConfig, where: str, whole: reading.Model, draw: Callable[[], Params], want: Any
) -> Params:
    free = (*_FREE, *(_SIZED_BY_WORDS if config.train.redraw else ()))
    if not isinstance(config.part, schema.StageConfig):
        if whole.clip is None:
            raise InputError(f"{where} has no CLIP to start from.")
        _check_same(where, "model", whole.clip[0], config.part, free)
        return clip_objective.with_logit_scale(whole.clip[2], whole.clip[0].logit_scale)
    if config.stage not in whole.stages:
        raise InputError(f"{where} has no {config.stage} to start from.")
    have, params = whole.stages[config.stage]
    old, new = have.model, config.part.model
    _check_same(where, "model", old, new, free)
    _check_same(where, "diffusion", have, config.part, ("model", "sampling"))
    if old.inpaint and not new.inpaint:
        raise InputError(f"{where} is an inpainting model; so must the config's be.")
    if lost := set(old.attention) - set(new.attention):
        raise InputError(f"{where} has attention at {sorted(lost)}; so must the config's.")
    if set(old.attention) != set(new.attention):
        params = add_attention(params, draw())
    return widen_stem(params, want) if old.inpaint != new.inpaint else params


def _check_same(where: str, section: str, have: Any, want: Any, free: tuple[str, ...]) -> None:
    """Refuses two dataclasses of one kind that differ in a field which is not free."""
    for field in dataclasses.fields(want):
        was, now = getattr(have, field.name), getattr(want, field.name)
        if was != now and field.name not in free:
            raise InputError(
                f"{where} has {section}.{field.name} = {was!r}, and the config {now!r}; they must "
                "be equal."
            )
