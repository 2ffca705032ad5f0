"""How a stage is sampled: a model's defaults, presets, a caller's wishes, all checked."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from glide_jax import checks, types
from glide_jax.diffusion import grids, guidance, solvers
from glide_jax.errors import InputError
from glide_jax.sampling import cascade
from glide_jax.sampling.options import Options


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a stage is sampled unless a caller says otherwise; see `Options` for each."""

    steps: str = "100"
    sampler: str = "ddpm"
    grid: str = ""  # "" where steps is a respacing
    guidance_scale: float = 3.0
    eta: float = 0.0
    temperature: float = 1.0
    # Each of these is off at the value it has here, and then not in the program.
    guidance_interval: tuple[float, ...] = ()
    guidance_power: float = 0.0
    guidance_rescale: float = 0.0
    dynamic_threshold: float = 0.0
    apg_parallel: float = 1.0
    apg_radius: float = 0.0
    cfgpp_scale: float = 0.0


DEFAULTS = Sampling()


# "reference" is what the released notebooks do. The others are chosen from distances to the
# converged picture, docs/results/samplers.md. The base of the box is as near after 20 evaluations
# as after 40, which leave room for harder ones; its upsampler after 10 is nearer than the released
# respacing after 40.
PRESETS: dict[str, dict[str, dict[str, str]]] = {
    "fast": {
        "base": {"sampler": "unipc", "grid": "logsnr", "steps": "20"},
        "upsample": {"sampler": "dpmpp_2m", "grid": "logsnr", "steps": "10"},
    },
    "balanced": {
        "base": {"sampler": "unipc", "grid": "logsnr", "steps": "40"},
        "upsample": {"sampler": "dpmpp_2m", "grid": "logsnr", "steps": "20"},
    },
    "reference": {
        "base": {"sampler": "ddpm", "grid": "", "steps": "100"},
        "upsample": {"sampler": "ddim", "grid": "", "steps": "fast27"},
    },
}
_RANGES = {
    "guidance_scale": (-100.0, 100.0),
    "eta": (0.0, 1.0),
    "temperature": (0.0, 10.0),
    "guidance_power": (0.0, 10.0),
    "guidance_rescale": (0.0, 1.0),
    "dynamic_threshold": (0.0, 1.0),
    "apg_parallel": (0.0, 1.0),
    "apg_radius": (0.0, 1e6),
    "cfgpp_scale": (0.0, 1.0),
}


def wished(o: Options) -> dict[str, dict[str, Any]]:
    """What a call says of each stage: its preset's values, then those that it names itself."""
    names = [field.name for field in dataclasses.fields(Sampling) if field.name != "temperature"]
    base = {name: getattr(o, name) for name in names}
    upsample = dict(
        steps=o.upsample_steps,
        sampler=o.upsample_sampler,
        grid=o.upsample_grid,
        temperature=o.temperature,
    )
    preset: Mapping[str, Mapping[str, Any]] = {"base": {}, "upsample": {}}
    if o.preset is not None:
        preset = PRESETS[checks.one_of("preset", o.preset, tuple(PRESETS))]
    named = lambda values: {name: value for name, value in values.items() if value is not None}
    return {
        "base": {**preset["base"], **_no_grid(named(base))},
        "upsample": {**preset["upsample"], **_no_grid(named(upsample))},
    }


def _no_grid(named: dict[str, Any]) -> dict[str, Any]:
    """A respacing chooses the timesteps itself, so it takes the place of a default's grid."""
    respaced = "steps" in named and not str(named["steps"]).strip().lstrip("+-").isdecimal()
    return {"grid": "", **named} if respaced else named


def checked(
    stage: types.Stage, default: Sampling, wishes: Mapping[str, Any], prefix: str = ""
) -> Sampling:
    """A stage's defaults with what is wished for, every value checked.

    Args:
        stage: the model.
        default: of its config.json.
        wishes: values by the names of `Sampling`; numbers may be text.
        prefix: of the options' names in messages.

    Raises:
        InputError: a value is wrong, or two do not go together.
    """
    how = dataclasses.replace(default, **wishes)
    grid = how.grid
    if grid != "":
        checks.one_of(f"{prefix}grid", grid, tuple(grids.GRIDS))
    steps = how.steps
    if grid and "steps" not in wishes and not str(steps).isdecimal():
        raise InputError(
            f"{prefix}grid is {grid!r}, but the model's steps are the respacing "
            f"{checks.shown(steps)}; give {prefix}steps, a number, too."
        )
    respacing = isinstance(steps, str) and len(steps) <= 99 and any(c in steps for c in ",dfab")
    if grid or not respacing:
        steps = str(checks.whole(f"{prefix}steps", steps, 1, len(stage.alpha_bar)))
    sampler = checks.one_of(f"{prefix}sampler", how.sampler, tuple(solvers.SAMPLERS))
    if "eta" in wishes and not solvers.SAMPLERS[sampler].eta:
        raise InputError(f"eta is {how.eta!r}, but only the sampler ddim knows it.")
    numbers = {
        name: checks.real(name, getattr(how, name), *limits) for name, limits in _RANGES.items()
    }
    if numbers["cfgpp_scale"]:
        if sampler != "ddim":
            raise InputError(
                f"cfgpp_scale is {numbers['cfgpp_scale']:g}, but only the sampler ddim knows it."
            )
        if numbers["guidance_power"]:
            raise InputError(
                f"guidance_power is {numbers['guidance_power']:g}, but cfgpp_scale is set; "
                "leave one of them out."
            )
    cascade.schedule_of(stage, steps, grid)  # refuses a respacing that is not possible
    interval = _interval(how.guidance_interval, len(stage.alpha_bar))
    return Sampling(steps=steps, sampler=sampler, grid=grid, guidance_interval=interval, **numbers)


def _interval(value: Any, num_timesteps: int) -> tuple[float, ...]:
    """Low and high of "200,800" or a pair; nothing is nothing."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or len(parts) not in (0, 2) or value == "":
        raise InputError(
            f"guidance_interval is {checks.shown(value)}; it must be two timesteps, such as "
            "200,800."
        )
    last = float(num_timesteps - 1)
    ends = tuple(checks.real("guidance_interval", part, 0.0, last) for part in parts)
    if ends and ends[0] > ends[1]:
        raise InputError(
            f"guidance_interval is {checks.shown(value)}; its first timestep must be the smaller."
        )
    return ends


def settings(how: Sampling) -> cascade.Settings:
    """What of it is traced; what is off becomes None."""
    apg = None
    if how.apg_parallel != 1.0 or how.apg_radius:
        apg = (how.apg_parallel, how.apg_radius or math.inf)
    interval = how.guidance_interval
    extras = guidance.Extras(
        interval=(interval[0], interval[1]) if interval else None,
        power=how.guidance_power or None,
        rescale=how.guidance_rescale or None,
        apg=apg,
        plus_scale=how.cfgpp_scale or None,
    )
    return cascade.Settings(how.guidance_scale, how.eta, how.dynamic_threshold or None, extras)
