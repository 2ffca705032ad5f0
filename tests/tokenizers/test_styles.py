"""Prompts that name no style are given one, and others stay."""

import pytest

from glide_jax.tokenizers.styles import name_style

STYLES = ("twemoji", "flat", "3d")


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a cat", "a cat, twemoji style"),
        ("a Flat emoji of cat", "a Flat emoji of cat"),
        ("cat, 3d style", "cat, 3d style"),
        ("a flatfish", "a flatfish, twemoji style"),
        ("", ""),
        (" ", " "),
    ],
)
def test_a_prompt_without_a_style_is_given_the_first(prompt, named):
    assert name_style(prompt, STYLES) == named


def test_nothing_is_added_where_there_are_no_styles():
    assert name_style("a cat", ()) == "a cat"
