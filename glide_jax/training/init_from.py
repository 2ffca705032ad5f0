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
from glide_jax.sampling import settings
from glide_jax.training import clip_objective, optim, sketching
from glide_jax.training.config import TrainConfig
from glide_jax.training.growing import add_layers, widen_stem
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
    if config.objective == "sketches":
        params = sketching.with_sketcher(params)
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


def teacher_of(
    config: TrainConfig, whole: reading.Model | None
) -> tuple[schema.StageConfig, Params]:
    """The stage that a student learns from.

    Args:
        config: a run that distils.
        whole: the model that it starts from, if there is one.

    Returns:
        The stage's config and its parameters.

    Raises:
        InputError: there is none, or it can teach nothing of the kind.
    """
    distill, stage = config.distill, config.stage
    if whole is None:
        raise InputError(
            "a distillation has a teacher: glide-jax distill --from MODEL, or train.init_from."
        )
    where = f"train.init_from {config.train.init_from!r}"
    if stage not in whole.stages:
        raise InputError(f"{where} has no {stage} to learn from.")
    have, params = whole.stages[stage]
    wanted = "v" if have.prediction == "eps" else have.prediction
    if config.diffusion.prediction != wanted:
        raise InputError(
            f"{where} predicts {have.prediction}, so diffusion.prediction must be {wanted!r}."
        )
    if distill.what == "distribution":
        if have.distilled:
            raise InputError(
                f"{where} is distilled to {have.distilled} steps already; give its teacher."
            )
        if have.prediction == "eps":
            raise InputError(
                f"{where} predicts eps, which a student of few steps cannot begin with; first "
                f"distil its {'steps' if have.model.upsampler else 'guidance'}, which learns v."
            )
        return have, params
    if distill.what == "guidance":
        if have.model.upsampler:
            raise InputError(f"{where}: an upsampler is drawn without guidance; distil its steps.")
        if have.model.guidance:
            raise InputError(f"{where} has guidance distilled into its {stage} already.")
        if have.distilled:
            raise InputError(f"{where} is distilled to {have.distilled} steps; guidance is first.")
        return have, params
    scale = have.sampling.get("guidance_scale", settings.DEFAULTS.guidance_scale)
    if not have.model.upsampler and not have.model.guidance and scale != 1.0:
        raise InputError(
            f"{where} has a base that is drawn with guidance, {scale:g}; first distil that by "
            "--what guidance, and then the result's steps."
        )
    if have.distilled and have.sampling.get("sampler") != "ddim":
        raise InputError(f"{where} has a student that puts back noise, which teaches no other.")
    if have.distilled not in (0, distill.of_teacher):
        raise InputError(
            f"{where} is distilled to {have.distilled} steps, and its student is to have "
            f"{distill.count}; it must be those divided by distill.leap, {distill.leap}, or as "
            "many with distill.renoise."
        )
    own = have.sampling.get("grid")
    if have.distilled and own != distill.grid:
        raise InputError(
            f"{where} is distilled on the grid {own}, and distill.grid is {distill.grid}; give "
            f"--config.distill.grid={own}."
        )
    return have, params


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
    if not config.distill.what and (have.distilled or old.guidance):
        raise InputError(
            f"{where} has a distilled {config.stage}, which further training on pictures would "
            "undo; train its teacher, and distil that again."
        )
    ours = ("prediction", "distilled") if config.distill.what else ()  # see `teacher_of`
    learnt = ("guidance", "away") if config.distill.what in ("guidance", "distribution") else ()
    _check_same(where, "model", old, new, (*free, *learnt))
    # Captions that name other styles as well are learned as other captions are.
    words = ("styles",) if set(have.styles) <= set(config.part.styles) else ()
    _check_same(where, "diffusion", have, config.part, ("model", "sampling", *ours, *words))
    if old.inpaint and not new.inpaint:
        raise InputError(f"{where} is an inpainting model; so must the config's be.")
    if lost := set(old.attention) - set(new.attention):
        raise InputError(f"{where} has attention at {sorted(lost)}; so must the config's.")
    if set(old.attention) != set(new.attention) or old.guidance != new.guidance:
        params = add_layers(params, draw())
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
