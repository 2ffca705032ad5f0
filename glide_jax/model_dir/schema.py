"""Model directories to functions and parameters, and back."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from glide_jax import checks
from glide_jax.diffusion import parameterization, schedules
from glide_jax.errors import InputError
from glide_jax.networks import zoo

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """A stage's part of config.json."""

    model: zoo.ModelConfig = zoo.BASE
    noise_schedule: str = "squaredcos_cap_v2"
    prediction: str = "eps"  # what the network's output means: "eps" or "v"
    # Defaults of `sampling.settings.Sampling`, which also checks them.
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)

    def __post_init__(self):
        """Refuses what is not known."""
        checks.one_of("noise_schedule", self.noise_schedule, tuple(schedules.ALPHA_BARS))
        checks.one_of("prediction", self.prediction, parameterization.PREDICTIONS)


def known_fields(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from a mapping.

    Raises:
        InputError: an unknown field; the nearest known one is named.
    """
    check_names(values, [field.name for field in dataclasses.fields(cls)], where)  # type: ignore[arg-type]
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def check_names(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise InputError(f"{where} has an unknown field {checks.shown(name)}; {hint}")


def parse_section(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from a config, types checked; lists become tuples, sections dataclasses.

    Raises:
        InputError: an unknown field or a value of another type than the field's default.
    """
    defaults = {field.name: _default(field) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    check_names(values, list(defaults), where)
    out = {}
    for name, value in values.items():
        default: Any = defaults[name]
        if dataclasses.is_dataclass(default) and isinstance(value, Mapping):
            kind: Any = type(default)
            value = parse_section(kind, value, f"{where}.{name}")
        value = tuple(value) if isinstance(value, list | tuple) else value
        if type(default) is float and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            like = "a section" if dataclasses.is_dataclass(default) else f"like {default!r}"
            raise InputError(f"{where}: {name} is {checks.shown(value)}; it must be {like}.")
        out[name] = value
    return known_fields(cls, out, where)


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
