"""Sentences about prompts that a model draws, but not as they mean."""

import warnings
from collections.abc import Sequence

from glide_jax import checks
from glide_jax.sampling.loading import Loaded
from glide_jax.tokenizers.protocol import PromptOutside, cut_note
from glide_jax.tokenizers.styles import name_style


def outside(loaded: Loaded, prompts: Sequence[str]) -> str | None:
    """One sentence about the prompts that have none of the model's forms; None if all have.

    Args:
        loaded: the model.
        prompts: those of a call, checked.
    """
    if (forms := loaded.forms) is None:
        return None
    others = list(dict.fromkeys(text for text in prompts if not forms.fit(text)))
    if not others:
        return None
    more = f" (and {len(others) - 1} more of the prompts)" if len(others) > 1 else ""
    return (
        f"prompt {checks.shown(others[0])}{more} has none of the forms that model "
        f"{loaded.name!r} was trained on, so the picture may be of something else; the nearest "
        f"prompt of such a form is {forms.nearest(others[0])!r}."
    )


def warn_outside(loaded: Loaded, prompts: Sequence[str]) -> None:
    """Warns `PromptOutside` with the sentence of `outside`."""
    if note := outside(loaded, prompts):
        warnings.warn(note, PromptOutside, stacklevel=2)


def notes(loaded: Loaded, prompts: Sequence[str]) -> tuple[str, ...]:
    """All sentences, those about prompts that are cut included, for who cannot see warnings.

    Args:
        loaded: the model.
        prompts: see `outside`.
    """
    stage = loaded.stages["base"]
    cuts = (
        cut_note(loaded.tokenizer, name_style(text, stage.styles), stage.context)
        for text in prompts
    )
    return tuple(dict.fromkeys(filter(None, (outside(loaded, prompts), *cuts))))
