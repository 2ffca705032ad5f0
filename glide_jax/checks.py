"""Checks of values that people give.

A wrong one raises `InputError`: one sentence with its name, the value and the right range.
"""

import math
import unicodedata
from typing import Any

from glide_jax.errors import InputError

_CONTROLS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories
_ANY = 2**53  # a bound from which on a message leaves it out
_JOINERS = "\u200c\u200d"


def whole(name: str, value: Any, low: int, high: int, more: str = "") -> int:
    """Returns `value` as an int in [low, high]; booleans and fractions are refused.

    Args:
        name: The option or field, for the message.
        value: A number, or text such as "12".
        low: The smallest number allowed.
        high: The largest number allowed.
        more: The end of the message, such as a word that is allowed, too.

    Raises:
        InputError: The value is no whole number, or is out of range.
    """
    try:
        number = int(value)
        exact = not isinstance(value, bool) and number == (
            float(value) if isinstance(value, float) else number
        )
        exact = exact and not (isinstance(value, str) and str(number) != value.strip())
    except (TypeError, ValueError, OverflowError):
        exact, number = False, 0
    if not exact or not low <= number <= high:
        bounds = f" from {low} to {high}" if high < _ANY else ""
        raise InputError(f"{name} is {shown(value)}; it must be a whole number{bounds}{more}.")
    return number


def real(name: str, value: Any, low: float, high: float) -> float:
    """Returns `value` as a finite float in [low, high].

    Args:
        name: The option or field, for the message.
        value: A number, or text such as "0.5".
        low: The smallest number allowed.
        high: The largest number allowed.

    Raises:
        InputError: The value is no number, or is out of range.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:  # false for NaN too
        bounds = f" from {low:g} to {high:g}" if high < _ANY else ""
        raise InputError(f"{name} is {shown(value)}; it must be a number{bounds}.")
    return number


def one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    """Returns `value`, which must be one of a few words.

    Args:
        name: The option or field, for the message.
        value: The word that was given.
        known: The words allowed.

    Raises:
        InputError: The value is another word.
    """
    if value not in known:
        raise InputError(f"{name} is {shown(value)}; it must be one of {', '.join(known)}.")
    return value


def truth(name: str, value: Any) -> bool:
    """Returns a boolean, which may be written as text.

    Raises:
        InputError: The value is something else.
    """
    if not isinstance(value, bool) and value not in ("true", "false"):
        raise InputError(f"{name} is {shown(value)}; it must be true or false.")
    return value is True or value == "true"


def label(name: str, value: Any) -> str:
    """Returns `value`, a name that a person gave something, as text on one line.

    Raises:
        InputError: The value is no text, or has characters that cannot be printed.
    """
    if not isinstance(value, str) or not value.isprintable():
        raise InputError(f"{name} is {shown(value)}; it must be printable text.")
    return value


def shown(value: Any, limit: int = 80) -> str:
    """The text by which a message quotes a value: in quotes, printable, cut where it is long."""
    text = printable(repr(value)[: limit + 1])  # escapes only lengthen it
    return text if len(text) <= limit else f"{text[:limit]}..."


def printable(text: str, limit: int | None = None) -> str:
    r"""Text as one line that a terminal may be given: what controls a terminal is escaped.

    Escaped are control characters, line ends among them, marks of writing direction and lone
    surrogates; joiners stay, which some scripts and emoji are written with. Text of more than
    `limit` characters is cut.

    >>> printable("red\n\x1b[31m")
    'red\\n\\x1b[31m'
    """
    cut = limit is not None and len(text) > limit
    text = "".join(
        ascii(c)[1:-1] if unicodedata.category(c) in _CONTROLS and c not in _JOINERS else c
        for c in text[:limit]
    )
    return f"{text}..." if cut else text
