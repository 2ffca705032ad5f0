"""WordPiece as BERT's uncased models take it: words of a vocabulary, cut where they are none."""

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LONGEST_WORD = 100  # letters; a longer one is unknown, as in BERT


class WordPiece:
    """Text to ids, between [CLS] and [SEP] (Devlin et al., 2019; Wu et al., 2016, section 4.1).

    Args:
        vocabulary: the pieces in the order of their ids; "##" begins one inside a word.
    """

    def __init__(self, vocabulary: Sequence[str]):
        self._ids = {piece: i for i, piece in enumerate(vocabulary)}
        self._pieces = functools.lru_cache(maxsize=65_536)(self._cut)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text with both markers."""
        words = re.findall(r"[^\W_]+|[^\s\w]|_", _plain(text))
        ids = [i for word in words for i in self._pieces(word)]
        return [self._ids["[CLS]"], *ids, self._ids["[SEP]"]]

    def __call__(self, texts: Sequence[str], context: int) -> tuple["np.ndarray", "np.ndarray"]:
        """Returns (int32 ids, bool mask) of `context` columns; what is longer loses its end."""
        import numpy as np

        tokens = np.full((len(texts), context), self._ids["[PAD]"], np.int32)
        for row, text in zip(tokens, texts, strict=True):
            ids = self.encode(text)
            if len(ids) > context:
                ids = [*ids[: context - 1], ids[-1]]
            row[: len(ids)] = ids
        return tokens, tokens != self._ids["[PAD]"]

    def _cut(self, word: str) -> tuple[int, ...]:
        """The longest pieces from the left; a word that cannot be cut so is [UNK] whole."""
        pieces, start = [], 0
        while start < len(word) <= LONGEST_WORD:
            mark, ends = "##" if start else "", range(len(word), start, -1)
            stems = (mark + word[start:end] for end in ends)
            piece = next((stem for stem in stems if stem in self._ids), None)
            if piece is None:
                break
            pieces.append(self._ids[piece])
            start += len(piece) - len(mark)
        return tuple(pieces) if start == len(word) else (self._ids["[UNK]"],)


def _plain(text: str) -> str:
    """Lower case, without accents and control characters."""
    text = unicodedata.normalize("NFD", text.lower())
    kind = unicodedata.category
    return "".join(c if kind(c) != "Cc" else " " for c in text if kind(c) not in ("Mn", "Cf"))
