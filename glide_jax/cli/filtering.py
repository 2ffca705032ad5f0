"""The option by which commands filter prompts."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from glide_jax.cli import common

if TYPE_CHECKING:
    from glide_jax.safety.prompt_filter import PromptFilter


def filter_option(default: str) -> Callable[[Callable], Callable]:
    """The option --prompt-filter, which the command takes as `prompt_filter`.

    Args:
        default: the level of all categories.
    """
    return click.option(
        "--prompt-filter", default=default, show_default=True, metavar="LEVELS",
        callback=lambda ctx, param, text: _opened(text, default),
        help="off, warn or refuse, or by category: refuse,people=off; `nearest` compares meaning.",
    )  # fmt: skip


def _opened(text: str, default: str) -> "PromptFilter":
    from glide_jax.safety import prompt_filter

    return prompt_filter.opened("prompt_filter", text, default, common.cache_folder() / "data")
