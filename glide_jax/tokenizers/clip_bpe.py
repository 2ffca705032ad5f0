"""CLIP's tokenizer: BPE with end-of-word pieces on cleaned, lower-cased text."""

import functools
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from glide_jax.errors import InputError
from glide_jax.tokenizers import bpe
from glide_jax.tokenizers.protocol import Tokens, check_ids, check_text, fill, shorten

_FILE, _SIZE = "clip_merges.txt.gz", 524_605
_SHA256 = "d308b7377a8ceaa9707a21614fe8c831b9196e197b7aeb69833359362907af02"


class ClipBPE:
    """BPE with 49,408 ids: 2 x 256 bytes, 48,894 merges, start and end.

    Args:
        reference: treat hostile text as the published tokenizer does: a typed "<|endoftext|>" or
            "<|startoftext|>" becomes the control id (which lets a prompt move the position that
            CLIP reads), and a lone surrogate becomes U+FFFD. Otherwise such a marker is text and a
            surrogate an error.
    """

    kind = "clip_bpe"
    vocab_size = 49_408
    start = 49_406
    end = 49_407

    def __init__(self, reference: bool = False):
        self.reference = reference

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the whole text, cleaned and in lower case, without markers."""
        if not isinstance(text, str) or not self.reference:
            check_text(text)
        control = {"<|startoftext|>": self.start, "<|endoftext|>": self.end}
        ids = []
        for word in _words(self.reference).findall(_clean(text)):
            if self.reference and word in control:
                ids.append(control[word])
            else:
                ids.extend(_table().encode(word.encode()))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the words with one space between them; the ids do not record other spacing."""
        ids = check_ids(ids, self.vocab_size)
        return _table().decode(i for i in ids if i < self.start).removesuffix(" ")

    def __call__(self, texts: Sequence[str], context: int) -> Tokens:
        """Returns start + ids + end + zeros, `context` of them (CLIP: 77); markers count as real.

        Zero is also the id of "!", so only the mask tells where a text ends.
        """
        return fill(self, texts, context, pad=0, before=(self.start,), after=(self.end,))

    def save(self, directory: Path) -> dict:
        """Returns the spec; the merges are part of the package, so no file is written."""
        return {"kind": self.kind, "sha256": _SHA256, "reference": self.reference}

    @classmethod
    def load(cls, spec: Mapping, directory: Path) -> "ClipBPE":
        """Returns the tokenizer of a saved spec.

        Raises:
            InputError: other merges made it, or `reference` is neither true nor false.
        """
        bpe.check_merges(spec.get("sha256"), _SHA256)
        reference = spec.get("reference", False)
        if not isinstance(reference, bool):
            raise InputError(
                f"The tokenizer's `reference` is {shorten(reference)}, but must be true or false."
            )
        return cls(reference)


def _clean(text: str) -> str:
    """Repairs broken encodings and HTML entities, and leaves single spaces and lower case."""
    import ftfy
    import regex

    # Twice, because "&amp;lt;" is common in captions taken from web pages.
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


@functools.cache
def _table() -> bpe.MergeTable:
    return bpe.MergeTable(bpe.read_merges(_FILE, _SHA256, _SIZE), end_of_word=True)


@functools.cache
def _words(control: bool):
    """Returns the pattern of words: contractions, letters, one digit, the rest; no white space.

    It ignores case although the text is in lower case: that still lets the long s make "'s".
    """
    import regex

    pattern = r"'(?:s|t|re|ve|m|ll|d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
    if control:
        pattern = r"<\|startoftext\|>|<\|endoftext\|>|" + pattern
    return regex.compile(pattern, regex.IGNORECASE)
