"""The options of a call, and the picture that may go in: parsed and checked without a model."""

# ruff: noqa: RUF009  `option` is `dataclasses.field` with metadata

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.sampling import parsers
from glide_jax.sampling.settings import (
    NUM_TIMESTEPS,
    PRESETS,
    PRESETS_HELP,
    Respacing,
    StageSettings,
    option,
    option_of,
    real,
    whole,
)

# Called with a stage's name, its steps done and its steps in all, over all batches.
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Edit:
    """A picture that goes in, as the stages take it; pixels are those of the last stage.

    Attributes:
        record: its entry in the parameters of pictures, JSON-able.
        known: (h, w, 3) in [-1, 1].
        mask_known: (h, w, 1), 1 where `known` is kept.
        init: (h, w, 3) in [-1, 1], noised and then drawn from.
        strength: how much `init` is noised, 0 to 1.
        jump: steps of a stretch that is walked several times, with `known` only.
        repeats: how often each stretch is walked.
        low_res: (h, w, 3) in [-1, 1], given to the upsampler; the base then does not run.
        weights: position of each frame between a first and a last prompt, 0 to 1.
        to_seed: the seed of the last frame's starting noise.
        finish: makes the result from the Pillow picture that the last stage drew.
    """

    record: dict[str, Any] | None = None
    known: np.ndarray | None = None
    mask_known: np.ndarray | None = None
    init: np.ndarray | None = None
    strength: float = 1.0
    jump: int = 10
    repeats: int = 1
    low_res: np.ndarray | None = None
    weights: np.ndarray | None = None
    to_seed: int | None = None
    finish: Callable[[Any], Any] = lambda picture: picture


NO_EDIT = Edit()


def _parse_edit(name: str, value: Any) -> Edit:
    if not isinstance(value, Edit):
        raise InputError(
            f"{name} is {checks.shown(value)}; it must come from glide_jax.sampling.edits."
        )
    return value


def _parse_batch_size(name: str, value: Any) -> int | str:
    return value if value == "auto" else checks.whole(name, value, 1, 4096, ", or auto")


def _parse_one_of(*known: str) -> Callable[[str, Any], str]:
    return lambda name, value: checks.one_of(name, value, known)


SEES = ("x_t", "x_0")  # what a CLIP or a score is given: noisy pictures, or the predicted clean one


@dataclasses.dataclass(frozen=True)
class Call:
    """The options of a call, parsed. An option that is None has its default.

    `base` and `upsampler` hold the call's own values for the two stages, by the names of
    `StageSettings`; what they do not name is the preset's, or else the model's.
    """

    # Image i of a seed is the same whatever the batch, `n` or the other prompts.
    n: int = whole(1, 1, 1_000_000, "Pictures of each prompt.", shown=True)
    seed: int = option(0, parsers.parse_seed, "0 to 4294967295, or random.", shown=True)
    first_index: int = whole(0, 0, 2**31 - 1, "Number of the first picture of a seed.")
    number_on: bool = option(False)  # count on from prompt to prompt
    as_recorded: bool = option(False)  # from a picture's record, which also names what was idle
    preset: str | None = option(None, _parse_one_of(*PRESETS), PRESETS_HELP)
    base: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    upsample: bool = option(True, help="Run the upsampler, if any.")
    upsampler: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    negative_prompt: str | None = option(
        None, parsers.parse_prompt, "What guidance keeps away from."
    )
    mix: tuple[tuple[str, float], ...] = option(
        (),
        parsers.parse_mix,
        "Another prompt mixed in; the prompt's own weight is 1. May be repeated.",
    )
    autoguidance_model: str | None = option(
        None, lambda name, v: str(v), "A smaller or earlier model to push away from."
    )
    autoguidance_scale: float = real(
        2.0, -100.0, 100.0, "How far; 1 is not at all.", needs="autoguidance_model"
    )
    clip_guidance_scale: float | None = real(None, 0.0, 1000.0, "Guide by the model's CLIP.")
    clip_guidance_on: str = option(
        "x_t", _parse_one_of(*SEES), "What the CLIP sees: x_t, or predicted x_0.",
        needs="clip_guidance_scale",
    )  # fmt: skip
    # A JAX function whose value guidance raises: x_0 in [-1, 1], (b, h, w, 3), to (b,); with
    # score_on "x_t" it is given (x_t, t). A new function compiles anew.
    score: Callable[..., Any] | None = option(None, parsers.parse_score)
    score_scale: float = real(1.0, -1e6, 1e6, needs="score")
    score_on: str = option("x_0", _parse_one_of(*SEES), needs="score")
    keep: int | None = whole(
        None, 1, 1_000_000, "How many of --n pictures are kept: the best by the CLIP."
    )
    batch_size: int | str = option(  # the last batch is padded, so nothing recompiles
        4, _parse_batch_size, "Pictures at once; auto is as many as fit the device's memory.",
        shown=True,
    )  # fmt: skip
    record_prompt: bool = option(True, checks.truth, "Write prompts into files and their names.")
    edit: Edit = option(NO_EDIT, _parse_edit)
    progress: Progress | None = option(None)

    @property
    def mix_weights(self) -> np.ndarray:
        """The weights of the prompt and of those mixed into it, float64 (k,) of sum 1."""
        weights = np.array([1.0, *(weight for _, weight in self.mix)])
        return weights / weights.sum()

    @property
    def clip_guides(self) -> bool:
        """Whether the CLIP has a say; at scale 0 it has none."""
        return bool(self.clip_guidance_scale)

    @property
    def weak_guides(self) -> bool:
        """Whether a worse model has a say; at scale 1 it has none."""
        return self.autoguidance_model is not None and self.autoguidance_scale != 1.0

    @property
    def replaces_null(self) -> bool:
        """Whether a CLIP or a worse model takes the place of the empty prompt, as in the papers.

        It does unless the call gives a scale for that, or a prompt to keep away from.
        """
        asked = self.base.keys() & {"guidance_scale", "cfgpp_scale"}
        alone = not asked and self.negative_prompt is None
        return alone and (self.clip_guides or self.weak_guides)

    @property
    def sees_x_0(self) -> bool:
        """Whether a CLIP or a score is given predicted x_0, which needs the network's gradient."""
        clip = self.clip_guides and self.clip_guidance_on == "x_0"
        return clip or (self.score is not None and self.score_on == "x_0")


@functools.cache
def options() -> dict[str, tuple[str, dataclasses.Field]]:
    """Every option by its name: the group that it belongs to (call, base, upsampler), its field."""
    out: dict[str, tuple[str, dataclasses.Field]] = {}
    for field in dataclasses.fields(Call):
        if field.name not in ("base", "upsampler"):
            out[field.name] = ("call", field)
            continue
        for stage_field in dataclasses.fields(StageSettings):
            meta = option_of(stage_field)
            if field.name == "base" and meta.help:
                out[stage_field.name] = ("base", stage_field)
            elif field.name == "upsampler" and meta.upsample:
                prefix = "upsample_" if meta.help else ""
                out[f"{prefix}{stage_field.name}"] = ("upsampler", stage_field)
    return out


def parse(values: Mapping[str, Any], call: Call | None = None) -> Call:
    """The call with these options, checked as far as that needs no model.

    Args:
        values: options by name; numbers may be text, and None leaves an option as it is.
        call: where the other options come from, by default their defaults.

    Raises:
        InputError: an option is unknown (a TypeError, too), its value is wrong, or two do not go
            together.
    """
    from glide_jax.sampling.other_names import check_options

    check_options(values, list(options()))
    call = Call() if call is None else call
    groups: dict[str, dict[str, Any]] = {
        "call": {}, "base": dict(call.base), "upsampler": dict(call.upsampler)
    }  # fmt: skip
    for name, value in values.items():
        if value is not None:
            group, field = options()[name]
            groups[group][field.name] = option_of(field).parse(name, value)
    own = groups.pop("call")
    call = dataclasses.replace(call, **own, **groups)
    for name in (name for name, value in values.items() if value is not None):
        needs = option_of(options()[name][1]).needs
        if needs and getattr(call, needs) is None:
            raise InputError(
                f"{name} is {checks.shown(values[name])}, which does nothing without {needs}; give "
                "that, too, or leave it out."
            )
    _check_pairs(call.base, call.base)
    _check_pairs(call.upsampler, call.upsampler, "upsample_")
    _check_extras(call)
    if call.keep is not None and call.keep > call.n:
        raise InputError(
            f"keep is {call.keep}, but n is {call.n}; the best of n are kept, so give more."
        )
    if not call.upsample:
        check_no_upsampler(call)
    return call


def check_no_upsampler(call: Call) -> None:
    """Refuses options of an upsampler where none runs.

    Raises:
        InputError: one is given.
    """
    for name, (group, field) in options().items():
        if group == "upsampler" and field.name in call.upsampler:
            value = checks.shown(str(call.upsampler[field.name]))
            raise InputError(f"{name} is {value}, but no upsampler runs; leave it out.")


# Settings that only change how the predictions with a prompt and without are combined.
CLASSIFIER_FREE = (
    "guidance_power", "guidance_rescale", "apg_parallel", "apg_radius", "apg_momentum"
)  # fmt: skip


def _check_extras(call: Call) -> None:
    """Refuses extras of classifier-free guidance where something else takes its place."""
    fields = {field.name: field for field in dataclasses.fields(StageSettings)}
    for name in CLASSIFIER_FREE if call.replaces_null else ():
        value, off = call.base.get(name), option_of(fields[name]).off
        if value is not None and value != off:
            guide = "the CLIP" if call.clip_guides else "a worse model"
            raise InputError(
                f"{name} is {value:g}, but guidance by {guide} takes the place of classifier-free "
                "guidance, which alone it changes; give guidance_scale, too, or leave it out."
            )


def _check_pairs(values: Mapping[str, Any], own: Mapping[str, Any], prefix: str = "") -> None:
    """Refuses values of one stage that do not go together.

    Args:
        values: by the names of `StageSettings`, all or some.
        own: those that the call names itself.
        prefix: the stage's prefix of option names in messages.
    """
    from glide_jax.diffusion import solvers

    steps, grid = values.get("steps"), values.get("grid")
    if grid and isinstance(steps, Respacing):
        if "steps" in own:
            checks.whole(f"{prefix}steps", steps.text, 1, NUM_TIMESTEPS)
        raise InputError(
            f"{prefix}grid is {grid!r}, but the model's steps are the respacing "
            f"{checks.shown(steps.text)}; give {prefix}steps, a number, too."
        )
    if "sampler" not in values:
        return
    sampler, plus = solvers.SAMPLERS[values["sampler"]], values.get("cfgpp_scale")
    if "eta" in own and not sampler.eta:
        raise InputError(f"eta is {own['eta']!r}, but only the sampler ddim knows it.")
    if plus and values["sampler"] != "ddim":
        raise InputError(f"cfgpp_scale is {plus:g}, but only the sampler ddim knows it.")
    if plus and values.get("guidance_power"):
        raise InputError(
            f"guidance_power is {values['guidance_power']:g}, but cfgpp_scale is set; leave one of "
            "them out."
        )


def stage_settings(call: Call, stage: str, default: StageSettings, fixed: int = 0) -> StageSettings:
    """A stage's settings: the call's own values over its preset's over the model's defaults.

    Args:
        call: the options.
        stage: "base" or "upsample".
        default: the model's.
        fixed: its steps, if it was distilled to some.

    Raises:
        InputError: values of the call do not go with those of the model.
    """
    own = dict(call.base if stage == "base" else call.upsampler)
    over = {} if call.preset is None else dict(PRESETS[call.preset][stage])
    if stage == "upsample" and call.edit.known is not None and not fixed:
        # An ODE would not take up the grain of known pixels; the released notebook changes its
        # sampler, too.
        over["sampler"] = "ddpm"
    if isinstance(own.get("steps"), Respacing):
        over["grid"] = ""  # a respacing chooses the timesteps itself
    settings = dataclasses.replace(default, **{**over, **own})
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    _check_pairs(values, over | own, "" if stage == "base" else "upsample_")
    return settings
