"""Fields of a config by their dotted names, and their values from text."""

import difflib
import json
import math
from collections.abc import Sequence
from typing import Any

from glide_jax import checks
from glide_jax.errors import InputError


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of nested mappings as {"section.field": value}."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if hasattr(value, "items"):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out


def override(config: Any, overrides: Sequence[str]) -> None:
    """Sets fields of a ConfigDict by "section.field=value".

    `ml_collections.config_flags` parses neither JSON lists nor bare words of a tuple, and its
    hints stay inside a section, so only the setting itself is the library's.

    Raises:
        InputError: no such field, or a text that its type does not have.
    """
    for override in overrides:
        name, _, text = override.partition("=")
        known = flat(config)
        if name in known:
            value = _value(f"config.{name}", text, known[name])
            config.update_from_flattened_dict({name: value})
            continue
        if inside := [field for field in known if field.startswith(f"{name}.")]:
            fields = dict.fromkeys(field.split(".")[name.count(".") + 1] for field in inside)
            raise InputError(
                f"config.{name} is a section; set one of its fields {', '.join(fields)}."
            )
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(config)}."
        raise InputError(f"config has no field {checks.shown(name)}; {hint}")


def _value(name: str, text: str, default: Any) -> Any:
    """`text` as a value of `default`'s type."""
    match default:
        case bool():
            if text.lower() not in ("true", "false", "1", "0"):
                raise InputError(f"{name} is {checks.shown(text)}; it must be true or false.")
            return text.lower() in ("true", "1")
        case int():
            return checks.whole(name, text, -(2**53), 2**53)
        case float():
            return math.inf if text in ("inf", "+inf") else checks.real(name, text, -1e300, 1e300)
        case tuple() | list():
            return _tuple(name, text, default)
        case _:
            return text


def _tuple(name: str, text: str, default: Sequence[Any]) -> tuple[Any, ...]:
    parts: list[Any] = [part.strip() for part in text.strip("()").split(",") if part.strip()]
    if text.lstrip().startswith("["):
        try:
            parts = [part if isinstance(part, str) else str(part) for part in json.loads(text)]
        except (ValueError, RecursionError):
            raise InputError(f"{name} is {checks.shown(text)}; it must be JSON.") from None
    if default:
        return tuple(_value(name, part, default[0]) for part in parts)
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        return tuple(parts)
