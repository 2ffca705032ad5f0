"""From prompts to token ids: GLIDE's byte-level BPE, CLIP's BPE, and SentencePiece.

A tokenizer is saved as a small JSON-able spec (plus, for SentencePiece, one file beside it) and
`load` is the inverse. Nothing heavy is imported and no table is read before the first prompt; the
package imports the ground floor alone, and never JAX.
"""

from collections.abc import Mapping
from pathlib import Path

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.tokenizers.clip_bpe import ClipBPE
from glide_jax.tokenizers.glide_bpe import GlideBPE
from glide_jax.tokenizers.protocol import PromptTruncated, Tokenizer, Tokens
from glide_jax.tokenizers.sentence_piece import SentencePiece

__all__ = ["ClipBPE", "GlideBPE", "PromptTruncated", "SentencePiece", "Tokenizer", "Tokens", "load"]

_KINDS = {c.kind: c for c in (GlideBPE, ClipBPE, SentencePiece)}


def load(spec: Mapping, directory: Path) -> Tokenizer:
    """Returns the tokenizer whose `save(directory)` returned `spec`.

    Raises:
        InputError: `spec` names no known kind, or a file it needs is missing or not the one saved.
    """
    kind = spec.get("kind") if isinstance(spec, Mapping) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise InputError(
            f"The tokenizer's kind is {checks.shown(kind)}, but it must be one of {known}."
        )
    return _KINDS[kind].load(spec, Path(directory))
