"""GLIDE's tokenizer: GPT-2's byte-level BPE on lower-cased text."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from glide_jax.tokenizers import bpe
from glide_jax.tokenizers.protocol import Tokens, check_ids, check_text, fill

_FILE, _SIZE = "gpt2_merges.txt.gz", 456_318
_SHA256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"


class GlideBPE:
    """Byte-level BPE with 50,257 ids: 256 bytes, 50,000 merges and the padding id 50256.

    Every string that UTF-8 can encode has ids, and `decode` returns it in lower case: nothing is
    cleaned, stripped or special, so a typed "<|endoftext|>" is seven ordinary tokens.
    """

    kind = "glide_bpe"
    vocab_size = 50_257
    pad = 50_256

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the whole text in lower case.

        >>> GlideBPE().decode(GlideBPE().encode("A red circle"))
        'a red circle'
        """
        words = _words().findall(check_text(text).lower())
        return [i for word in words for i in _table().encode(word.encode())]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of `ids`; padding has none."""
        return _table().decode(i for i in check_ids(ids, self.vocab_size) if i != self.pad)

    def __call__(self, texts: Sequence[str], context: int) -> Tokens:
        """Returns `context` ids per text (GLIDE: 128); an empty text is padding throughout."""
        return fill(self, texts, context, pad=self.pad)

    def save(self, directory: Path) -> dict:
        """Returns the spec; the merges are part of the package, so no file is written."""
        return {"kind": self.kind, "sha256": _SHA256}

    @classmethod
    def load(cls, spec: Mapping, directory: Path) -> "GlideBPE":
        """Returns the tokenizer of a saved spec.

        Raises:
            InputError: other merges made it.
        """
        bpe.check_merges(spec.get("sha256"), _SHA256)
        return cls()


@functools.cache
def _table() -> bpe.MergeTable:
    return bpe.MergeTable(bpe.read_merges(_FILE, _SHA256, _SIZE), end_of_word=False)


@functools.cache
def _words():
    """Returns the pattern of words: contractions, letters, numbers, the rest, white space.

    A word takes one space before it, and white space before a word leaves it that one. Letters and
    numbers are Unicode's L and N, which the standard `re` cannot name.
    """
    import regex

    return regex.compile(
        r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    )
