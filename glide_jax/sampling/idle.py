"""Options that would change nothing: each is refused by its name, with what it lacks."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.sampling.call import CLASSIFIER_FREE, Call
from glide_jax.sampling.settings import PRESETS, Respacing, StageSettings, option_of

# Options of the call that only a base reads.
_OF_BASE = ("negative_prompt", "mix", "autoguidance_model", "clip_guidance_scale", "score")


def check_idle(call: Call, stages: Mapping[str, StageSettings]) -> None:
    """Refuses options that a call names and that change nothing in it.

    A picture that is drawn again from its record is drawn with what it was drawn with.

    Args:
        call: the options.
        stages: the settings of each stage that runs.

    Raises:
        InputError: there is such an option.
    """
    for name, value, why in () if call.as_recorded else _idle(call, stages):
        raise InputError(f"{name} is {checks.shown(value)}, but {why}; leave {name} out.")


def _idle(call: Call, stages: Mapping[str, StageSettings]) -> Iterator[tuple[str, Any, str]]:
    """(option, value, why it changes nothing)."""
    if "base" not in stages:
        why = "a picture is enlarged by the upsampler alone"
        yield from ((name, value, why) for name, value in call.base.items())
        named = {name: getattr(call, name) for name in _OF_BASE}
        yield from ((name, value, why) for name, value in named.items() if value)
    else:
        yield from _idle_guidance(call, stages["base"])
    if call.preset is not None and all(_overridden(call, stage) for stage in stages):
        why = "sampler, grid and steps are given, too, and it is nothing besides"
        yield "preset", call.preset, why


def _idle_guidance(call: Call, base: StageSettings) -> Iterator[tuple[str, Any, str]]:
    off = {field.name: option_of(field).off for field in dataclasses.fields(base)}
    own = {name: v for name, v in call.base.items() if v != off[name]}
    if base.cfgpp_scale and "guidance_scale" in own:
        why = f"cfgpp_scale is {base.cfgpp_scale:g} and takes its place"
        yield "guidance_scale", own["guidance_scale"], why
    if base.cfgpp_scale or base.guidance_scale != 1.0:
        return
    why = "guidance_scale is 1, at which the prompt is not compared with another"
    yield from ((name, own[name], why) for name in CLASSIFIER_FREE if name in own)
    if call.negative_prompt:
        yield "negative_prompt", call.negative_prompt, why
    guided = call.clip_guides or call.weak_guides or call.score is not None
    if "guidance_interval" in own and not guided:
        yield "guidance_interval", own["guidance_interval"], "nothing guides at guidance_scale 1"


def _overridden(call: Call, stage: str) -> bool:
    """Whether the call names all that its preset sets for a stage."""
    own = call.base if stage == "base" else call.upsampler
    whole = own.keys() | ({"grid"} if isinstance(own.get("steps"), Respacing) else set())
    return PRESETS[call.preset or ""][stage].keys() <= whole
