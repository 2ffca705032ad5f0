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


def _split(text: str) -> list[str]:
    """The parts between commas, of which those in brackets, as of a regular expression, are none.

    One pair of parentheses around all of them, as Python writes a tuple, is taken off. Where
    brackets have no partner, as in a text with a smiley, every comma is between two parts.
    """
    text, depth, depths = text.strip(), 0, []
    for letter in text:
        depth += letter in "([{"
        depths.append(depth)  # a bracket has that of its content
        depth -= letter in ")]}"
    paired = depth == 0 and min(depths, default=0) >= 0
    if paired and text.startswith("(") and text.endswith(")") and min(depths) > 0:
        return _split(text[1:-1])
    marked = [
        "\0" if letter == "," and not (paired and depth) else letter
        for letter, depth in zip(text, depths, strict=True)
    ]
    return [part.strip() for part in "".join(marked).split("\0") if part.strip()]


def _tuple(name: str, text: str, default: Sequence[Any]) -> tuple[Any, ...]:
    if text.lstrip().startswith("["):
        try:
            parts = [part if isinstance(part, str) else str(part) for part in json.loads(text)]
        except (ValueError, RecursionError):
            raise InputError(f"{name} is {checks.shown(text)}; it must be JSON.") from None
    else:
        parts = _split(text)
    if default:
        return tuple(_value(name, part, default[0]) for part in parts)
    if name.startswith("config.model."):  # its lists are of numbers, all others of texts
        return tuple(checks.whole(name, part, -(2**53), 2**53) for part in parts)
    return tuple(parts)
