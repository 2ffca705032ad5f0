"""Checks of numbers that people give: one sentence with name, value and what would be right."""

import math
from typing import Any

from glide_jax.errors import InputError


def whole(name: str, value: Any, low: int, high: int) -> int:
    """An int in [low, high]; booleans and fractions are refused."""
    try:
        number = int(value)
        exact = not isinstance(value, bool) and number == (
            float(value) if isinstance(value, float) else number
        )
        exact = exact and not (isinstance(value, str) and str(number) != value.strip())
    except (TypeError, ValueError, OverflowError):
        exact, number = False, 0
    if not exact or not low <= number <= high:
        raise InputError(
            f"{name} is {shown(value)}; it must be a whole number from {low} to {high}."
        )
    return number


def real(name: str, value: Any, low: float, high: float) -> float:
    """A finite float in [low, high]."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:  # false for NaN too
        raise InputError(f"{name} is {shown(value)}; it must be a number from {low:g} to {high:g}.")
    return number


def one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    """One of the known words."""
    if value not in known:
        raise InputError(f"{name} is {shown(value)}; it must be one of {', '.join(known)}.")
    return value


def shown(value: Any, limit: int = 80) -> str:
    """A value as a message quotes it: with its quotes, printable, and cut if it is long."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
