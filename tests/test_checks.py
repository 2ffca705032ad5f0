"""Text from outside as messages show it."""

import time

import pytest

from glide_jax import checks


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two blue stars", "two blue stars"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\r\nb\tc\0d\x7f", r"a\r\nb\tc\x00d\x7f"),
        ("\x9b2J\x85", r"\x9b2J\x85"),
        ("fdp\u202egpj.exe", r"fdp\u202egpj.exe"),
        ("\u2066x\u2069 \u200fy \u061c", r"\u2066x\u2069 \u200fy \u061c"),
        ("one\u2028two\u2029", r"one\u2028two\u2029"),
        ("\ufefflone \ud800", r"\ufefflone \ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("красный круг 赤い\u3000丸 café", "красный круг 赤い\u3000丸 café"),
        ("👩\u200d🚀 क\u200cक", "👩\u200d🚀 क\u200cक"),
        ("back\\slash", "back\\slash"),
    ],
)  # fmt: skip
def test_what_controls_a_terminal_is_escaped_and_the_rest_stays(text, line):
    assert checks.printable(text) == line


def test_a_long_value_is_quoted_at_once():
    start = time.monotonic()
    assert checks.shown("\x00" * 10**7) == checks.shown("\x00" * 100)
    assert time.monotonic() - start < 1.0
