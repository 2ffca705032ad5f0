"""The protocol of tokenizers, and the parts they share: checking, cutting and padding."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from glide_jax.errors import InputError

if TYPE_CHECKING:  # NumPy takes longer to import than everything else here together
    import numpy as np

_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokens(NamedTuple):
    """A batch of prompts, one row each."""

    tokens: "np.ndarray"  # int32 (b, n)
    mask: "np.ndarray"  # bool (b, n), True where the token is real and not padding


class PromptTruncated(UserWarning):
    """A prompt has more tokens than fit, so the model does not see its end."""


class PromptOutside(UserWarning):
    """A prompt has none of the forms of the captions that the model was trained on."""

    once = True  # a command shows the first one alone, which counts the others


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back; instances are small, immutable and can be pickled."""

    kind: str

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        ...

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the whole text, without markers, padding or limit."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of `ids`; markers and padding ids have none."""
        ...

    def __call__(self, texts: Sequence[str], context: int) -> Tokens:
        """Returns exactly `context` ids per text; warns `PromptTruncated` when one is cut."""
        ...

    def save(self, directory: Path) -> dict:
        """Writes the files needed to `directory` and returns the spec that `load` takes."""
        ...

    @classmethod
    def load(cls, spec: Mapping, directory: Path) -> "Tokenizer":
        """Returns the tokenizer that `save` gave the spec of.

        Raises:
            InputError: it cannot be made from the spec and the files in `directory`.
        """
        ...


def check_text(text: str) -> str:
    """Returns `text` if it can be tokenized.

    Raises:
        InputError: it is not a string, or has a surrogate (half a character, no UTF-8 exists).
    """
    if not isinstance(text, str):
        raise InputError(f"A prompt must be a string, not {type(text).__name__} {shorten(text)}.")
    if found := _SURROGATE.search(text):
        raise InputError(
            f"Prompt {shorten(text)} has a lone surrogate U+{ord(found[0]):04X} at position "
            f"{found.start()}, which is half of a character; give text that UTF-8 can encode."
        )
    return text


def check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """Returns `ids` as Python integers.

    Raises:
        InputError: one is outside [0, vocab_size).
    """
    ids = [int(i) for i in ids]
    for i in ids:
        if not 0 <= i < vocab_size:
            raise InputError(
                f"Token id {i} is not in this vocabulary of ids 0 to {vocab_size - 1}."
            )
    return ids


def fill(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    context: int,
    *,
    pad: int,
    before: tuple[int, ...] = (),
    after: tuple[int, ...] = (),
) -> Tokens:
    """Encodes texts into rows of before + ids + after + padding, cutting ids that do not fit.

    Args:
        tokenizer: encodes each text.
        texts: one for each row.
        context: length of a row.
        pad: the id at masked positions.
        before: ids that begin each row.
        after: ids that end each text, also one that is cut.

    Raises:
        InputError: `texts` is one string, a prompt is not tokenizable, or `context` has no room.
    """
    import numpy as np

    if isinstance(texts, str | bytes):
        raise InputError(f"Prompts must be a list of strings, not the one string {shorten(texts)}.")
    texts, markers = list(texts), len(before) + len(after)
    if context <= markers:
        raise InputError(f"The text context is {context}, but it must be at least {markers + 1}.")
    tokens = np.full((len(texts), context), pad, np.int32)
    mask = np.zeros((len(texts), context), bool)
    for i, text in enumerate(texts):
        ids = tokenizer.encode(text)
        if len(ids) > context - markers:
            note = _truncated(tokenizer, text, ids, context - markers)
            # The level is whoever passed the prompt, behind a tokenizer's __call__.
            warnings.warn(note, PromptTruncated, stacklevel=3)
        row = [*before, *ids[: context - markers], *after]
        tokens[i, : len(row)] = row
        mask[i, : len(row)] = True
    return Tokens(tokens, mask)


def cut_note(tokenizer: Tokenizer, text: str, context: int) -> str | None:
    """The sentence about a prompt of which `context` ids do not hold all; else None.

    Args:
        tokenizer: encodes it.
        text: the prompt.
        context: length of a row, markers included.
    """
    room = context - int(tokenizer([""], context).mask.sum())  # markers, at both ends
    ids = tokenizer.encode(text)
    return _truncated(tokenizer, text, ids, room) if len(ids) > room else None


def shorten(value: object, limit: int = 60) -> str:
    """Returns a printable, quoted form of at most about `limit` characters."""
    if isinstance(value, str | bytes) and len(value) > limit:
        return repr(value[:limit]) + "..."
    text = repr(value)
    return text if len(text) <= 4 * limit else text[: 4 * limit] + "..."


def _truncated(tokenizer: Tokenizer, text: str, ids: list[int], room: int) -> str:
    rest = tokenizer.decode(ids[room:])
    return (
        f"Prompt {shorten(text)} has {len(ids)} tokens and {room} fit, so its end is not seen: "
        f"{shorten(rest.strip())}."
    )
