"""Prompts as the networks take them: each encoded once, when it is first needed."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax.diffusion import samplers
from glide_jax.sampling import cascade
from glide_jax.sampling.loading import Loaded
from glide_jax.sampling.request import Request
from glide_jax.tokenizers import Tokenizer
from glide_jax.tokenizers.styles import name_style
from glide_jax.types import Params, TextCond


class _Reader(NamedTuple):
    """A text encoder: of a stage, of the CLIP, or of the weak model."""

    encode: Callable[..., Any]
    context: int
    tokenizer: Tokenizer
    params: Callable[[], Params]
    styles: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()  # the empty prompt, where it is needed beside a negative one

    def named(self, prompts: Sequence[str]) -> list[str]:
        """The prompts as the reader's captions were, which may always have named a style."""
        return [name_style(prompt, self.styles) for prompt in prompts]


@dataclasses.dataclass(frozen=True)
class Texts:
    """The encoded prompts of a request; each method gives one batch's, or those of every batch.

    Rows are numbers of prompts, or of frames between two prompts.
    """

    encode: Callable[[str, int], Any]  # (reader, line) to its encoding, leading axis 1
    # Lines before that of the empty or negative prompt, which those mixed in and the empty follow.
    prompts: int
    mix_weights: np.ndarray  # (k,), of sum 1: the prompt's, then those of the ones mixed in
    weights: np.ndarray | None  # frames: positions between lines 0 and 1

    def prompt(self, stage: str, rows: Sequence[int]) -> TextCond:
        """The prompts of a batch for a stage."""
        return self._join(stage, rows)

    def clip(self, rows: Sequence[int]) -> jax.Array:
        """The prompts of a batch for the CLIP, (b, e), with those mixed in.

        A log-probability is linear in the text's embedding, so the mix of embeddings stands for
        the mix of scores.
        """
        own, others = self._join("clip", rows), self.mix("clip")
        if not others:
            return own
        stacked = jnp.stack([own, *(jnp.broadcast_to(text, own.shape) for text in others)])
        return jnp.tensordot(jnp.float32(self.mix_weights), stacked, axes=1)

    def weak(self, rows: Sequence[int]) -> TextCond:
        """The prompts of a batch for autoguidance's model."""
        return self._join("weak", rows)

    def null(self) -> TextCond:
        """The empty or negative prompt for the base, leading axis 1."""
        return self.encode("base", self.prompts)

    def away(self) -> jax.Array:
        """The pooled negative prompt for a base that takes it, without the empty one, (1, e)."""
        last = self.prompts + len(self.mix_weights)
        negative, empty = self.null(), self.encode("base", last)
        return negative.pooled - empty.pooled

    def mix(self, reader: str) -> tuple[Any, ...]:
        """The prompts mixed into each, for the base, the CLIP or the weak model, leading axis 1."""
        mixed = len(self.mix_weights) - 1
        return tuple(self.encode(reader, self.prompts + 1 + k) for k in range(mixed))

    def _join(self, reader: str, rows: Sequence[int]) -> Any:
        encoded = [self._row(reader, row) for row in rows]
        return jax.tree.map(lambda *parts: jnp.concatenate(parts), *encoded)

    def _row(self, reader: str, row: int) -> Any:
        if self.weights is None:
            return self.encode(reader, row)
        weight = jnp.float32(self.weights[row : row + 1])
        between = lambda a, b: samplers.slerp(a, b, weight)
        return jax.tree.map(between, self.encode(reader, 0), self.encode(reader, 1))


def encode_texts(loaded: Loaded, placed: Callable[[str], Params], request: Request) -> Texts:
    """The texts of a request, tokenized now and encoded when they are needed.

    Each is encoded alone, so that a picture does not depend on its neighbours' prompts, and only as
    many are kept as one batch needs: the released base has 20 MB of keys and values for each.

    Args:
        loaded: the model.
        placed: gives a stage's parameters on the device.
        request: the call.

    Raises:
        InputError: a prompt cannot be tokenized.
    """
    call, readers = request.call, {}
    for name in request.stages:
        stage = loaded.stages[name]
        of_stage = functools.partial(placed, name)
        empty = ("",) if stage.away else ()
        readers[name] = _Reader(
            stage.encode, stage.context, loaded.tokenizer, of_stage, stage.styles, empty
        )
    if call.clip_guides or call.keep is not None:
        clip, tokenizer = loaded.clip, loaded.clip_tokenizer
        assert clip is not None, "checked with the request"
        assert tokenizer is not None, "read together with the CLIP"
        of_clip = lambda: loaded.params["clip"]
        readers["clip"] = _Reader(clip.encode, clip.context, tokenizer, of_clip)
    if (weak := request.weak) is not None:
        base, of_weak = weak.stages["base"], lambda: weak.params["base"]
        readers["weak"] = _Reader(base.encode, base.context, weak.tokenizer, of_weak, base.styles)
    negative, mixed = call.negative_prompt or "", [text for text, _ in call.mix]
    # All at once and first, so that a bad prompt is refused before anything is drawn.
    tokens = {
        name: r.tokenizer(
            [*r.named(request.prompts), negative, *r.named(mixed), *r.empty], r.context
        )
        for name, r in readers.items()
    }

    @functools.lru_cache(maxsize=len(readers) * (request.rows_at_once + len(mixed) + 2))
    def encode(name: str, line: int) -> Any:
        ids, mask = (array[line : line + 1] for array in tokens[name])
        return cascade.encode_text(readers[name].encode, readers[name].params(), ids, mask)

    return Texts(encode, len(request.prompts), call.mix_weights, call.edit.weights)
