"""Prompts of models whose training captions always named a style."""

import re
from collections.abc import Sequence


def name_style(prompt: str, styles: Sequence[str]) -> str:
    """Returns a prompt with the first style behind it, if it has none of them as a word.

    A blank prompt stays, and every prompt where there are no styles.
    """
    if not styles or not prompt.strip():
        return prompt
    named = any(re.search(rf"\b{re.escape(style)}\b", prompt.lower()) for style in styles)
    return prompt if named else f"{prompt}, {styles[0]} style"
