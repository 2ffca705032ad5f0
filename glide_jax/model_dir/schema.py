"""config.json of a model directory as plain dataclasses, whose defaults are the fields' types."""

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
    """A stage's section of config.json."""

    model: zoo.ModelConfig = zoo.BASE
    noise_schedule: str = "squaredcos_cap_v2"
    prediction: str = "eps"  # the meaning of the network's output: "eps", "v" or "x_0"
    # Defaults of `sampling.settings.StageSettings`, which also checks them.
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    # Words of which every caption in training had one; prompts without are given the first.
    styles: tuple[str, ...] = ()
    distilled: int = 0  # steps that it was distilled to, and has alone; 0: it was not

    def __post_init__(self):
        """Refuses unknown names."""
        checks.one_of("noise_schedule", self.noise_schedule, tuple(schedules.ALPHA_BARS))
        checks.one_of("prediction", self.prediction, parameterization.PREDICTIONS)
        for style in self.styles:
            checks.label("styles", style)
        checks.whole("distilled", self.distilled, 0, 1000)

    def record(self) -> dict[str, Any]:
        """The section of config.json, which older versions read where it has nothing newer."""
        values = dataclasses.asdict(self) | {"model": self.model.record()}
        newer = ("styles", "distilled")
        return {k: v for k, v in values.items() if v or k not in newer}


def parse_section(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from a section of a config file, with the types checked.

    A field must have the type of its default; lists become tuples, whole numbers floats where the
    default is one, and sections dataclasses.

    Args:
        cls: a dataclass whose fields all have defaults.
        values: the section.
        where: the file and the section, for messages.

    Raises:
        InputError: a field is unknown or has the wrong type, or the class refuses a value.
    """
    defaults = {field.name: _default(field) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    check_names(values, list(defaults), where)
    out = {}
    for name, value in values.items():
        default: Any = defaults[name]
        section = dataclasses.is_dataclass(default)
        if section and isinstance(value, Mapping):
            kind: Any = type(default)
            value = parse_section(kind, value, f"{where}.{name}")
        value = tuple(value) if isinstance(value, list | tuple) else value
        value = widened(value, default)
        if type(value) is not type(default):
            like = "a section" if section else f"like {default!r}"
            raise InputError(f"{where}: {name} is {checks.shown(value)}; it must be {like}.")
        out[name] = value
    return known_fields(cls, out, where)


def widened(value: Any, default: Any) -> Any:
    """A whole number as a float where the default is one, if there is such a float."""
    fits = type(value) is int and abs(value) < 2**1000  # a file may have one of 4,000 digits
    return float(value) if fits and type(default) is float else value


def known_fields(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from values that need no conversion.

    Args:
        cls: a dataclass.
        values: its fields by name.
        where: the origin of the values, for messages.

    Raises:
        InputError: a field is unknown (the nearest known one is named), or the class refuses a
            value.
    """
    check_names(values, [field.name for field in dataclasses.fields(cls)], where)  # type: ignore[arg-type]
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def check_names(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuses unknown names.

    Args:
        values: a section of a config file.
        known: the names that may be in it.
        where: the file and the section, for messages.

    Raises:
        InputError: a name is unknown; the nearest known one is named.
    """
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise InputError(f"{where} has an unknown field {checks.shown(name)}; {hint}")


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
