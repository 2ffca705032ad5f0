"""Wishes that a distilled model cannot have, refused in a sentence."""

from glide_jax.errors import InputError
from glide_jax.sampling.call import CLASSIFIER_FREE, Call
from glide_jax.sampling.settings import DEFAULTS, StageSettings
from glide_jax.types import Stage


def check_wish(
    call: Call, name: str, model: str, stage: Stage, settings: StageSettings, own: StageSettings
) -> None:
    """Refuses settings that a stage was not distilled for.

    Args:
        call: the options.
        name: base or upsample.
        model: the model's name, for messages.
        stage: the stage's functions.
        settings: how it is to be drawn with.
        own: the model's defaults, of which a distilled stage has steps, sampler and grid alone.

    Raises:
        InputError: it cannot be drawn with so.
    """
    if stage.distilled:
        _check_chain(call, name, model, settings, own)
    if stage.guidance:
        _check_guidance(call, name, model, stage, settings)


def _check_chain(
    call: Call, name: str, model: str, settings: StageSettings, own: StageSettings
) -> None:
    chain = lambda s: f"{s.steps} steps of {s.sampler}{f' on the grid {s.grid}' if s.grid else ''}"
    if chain(settings) != chain(own):
        by = f" by the preset {call.preset}" if call.preset else ""
        raise InputError(
            f"{chain(settings)} are asked for{by}, but the {name} of {model!r} is distilled to "
            f"{chain(own)}; leave steps, sampler, grid and preset out."
        )
    steps = int(str(own.steps))
    if call.edit.init is not None and name == "base" and call.edit.strength * steps < 1.0:
        raise InputError(
            f"strength is {call.edit.strength:g}, but the base of {model!r} is distilled to "
            f"{steps} steps, each of which is {1 / steps:g} of the way; give that or more."
        )


def _check_guidance(
    call: Call, name: str, model: str, stage: Stage, settings: StageSettings
) -> None:
    low, high = stage.guidance
    if not low <= settings.guidance_scale <= high:
        raise InputError(
            f"guidance_scale is {settings.guidance_scale:g}, but the {name} of {model!r} has "
            f"guidance distilled into it for scales from {low:g} to {high:g}; give one of those."
        )
    extras = ["cfgpp_scale", *CLASSIFIER_FREE]
    if not call.clip_guides and not call.weak_guides and call.score is None:
        extras.append("guidance_interval")  # it also bounds those guides
    wishes = [n for n in extras if getattr(settings, n) != getattr(DEFAULTS, n)]
    if call.negative_prompt is not None and not stage.away:
        wishes.append("negative_prompt")
    for wish in wishes:
        raise InputError(
            f"{wish} is set, but the {name} of {model!r} has guidance distilled into it, which is "
            "one evaluation a step and knows guidance_scale alone; leave it out."
        )
