"""Parsers of the options of a call that are more than a number or a word."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from glide_jax import checks
from glide_jax.errors import InputError

LAST_SEED = 2**32 - 1
RANDOM = "random"  # a seed that is left to chance


def parse_mix(name: str, value: Any) -> tuple[tuple[str, float], ...]:
    """Pairs of prompt and weight, or texts WEIGHT:PROMPT as on the command line.

    Raises:
        InputError: it is no list of these, or the weights leave none for the prompt.

    >>> parse_mix("mix", ["0.5:a blue star"])
    (('a blue star', 0.5),)
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError(
            f"{name} is {checks.shown(value)}; it must be a list of prompts and weights."
        )
    pairs = []
    for given in value:
        entry = given
        if isinstance(entry, str):
            weight, colon, text = entry.partition(":")
            entry = (text, weight) if colon else None
        if not isinstance(entry, Sequence) or len(entry) != 2:
            raise InputError(
                f"{name} has the entry {checks.shown(given)}; it must be a weight and a "
                "prompt, such as 0.5:a blue star."
            )
        weight = checks.real(f"a weight in {name}", entry[1], -100.0, 100.0)
        pairs.append((parse_prompt(name, entry[0]), weight))
    total = sum(weight for _, weight in pairs)
    if 1.0 + total < 1e-3:
        raise InputError(
            f"the weights in {name} add to {total:g}; with the prompt's own 1 their sum must be "
            "positive."
        )
    return tuple(pairs)


def parse_prompt(name: str, value: Any) -> str:
    """A prompt that can be tokenized."""
    from glide_jax.tokenizers.protocol import check_text

    return check_text(value)


def parse_seed(name: str, value: Any) -> int:
    """A seed; "random" is one that nobody chose."""
    if value == RANDOM:
        return secrets.randbelow(LAST_SEED + 1)
    return checks.whole(name, value, 0, LAST_SEED, f", or {RANDOM}")


def parse_score(name: str, value: Any) -> Callable[..., Any]:
    """A function of pictures.

    Raises:
        InputError: it cannot be called.
    """
    if not callable(value):
        raise InputError(
            f"{name} is {checks.shown(value)}; it must be a function of pictures (b, h, w, 3)."
        )
    return value
