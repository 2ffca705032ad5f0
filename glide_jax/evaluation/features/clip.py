"""A model's own noise-aware CLIP as an extractor, and its embeddings of captions."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glide_jax.checkpoints.torch_import import flatten
from glide_jax.evaluation.features.extractor import Features
from glide_jax.models import zoo
from glide_jax.tokenizers import Tokenizer
from glide_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Clip:
    """Both encoders; `images.pool` are the pictures' unit embeddings at t = 0."""

    images: Features
    config: zoo.ClipConfig
    tokenizer: Tokenizer

    def texts(self, captions: Sequence[str], *, batch_size: int = 64) -> Float[np.ndarray, "n e"]:
        """Unit embeddings of captions; equal ones are encoded once."""
        different = list(dict.fromkeys(captions))
        tokens, mask = self.tokenizer(different, self.config.text_context)
        size = min(batch_size, len(different))
        found = []
        for start in range(0, len(different), size):
            rows = np.arange(start, start + size).clip(max=len(different) - 1)
            encoded = _encode(self.config, self.images.params, tokens[rows], mask[rows])
            found.append(np.asarray(encoded)[: len(different) - start])
        place = {caption: i for i, caption in enumerate(different)}
        return np.concatenate(found)[[place[caption] for caption in captions]]


def noised_clip(name: str, config: zoo.ClipConfig, tokenizer: Tokenizer, params: Params) -> Clip:
    """The CLIP of a model directory, by its parameters' sum."""
    digest = hashlib.sha256()
    for path, leaf in sorted(flatten(params).items()):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(leaf, np.float32).tobytes())
    features = Features(
        f"noised-clip-of-{name}",
        digest.hexdigest(),
        config.image_size,
        params,
        functools.partial(_apply, config),
    )
    return Clip(features, config, tokenizer)


def _apply(config: zoo.ClipConfig, params: Params, images: UInt8[Array, "b h w 3"]):
    side = config.image_size
    x = jnp.asarray(images, jnp.float32) / 127.5 - 1.0
    x = jax.image.resize(x, (len(images), side, side, 3), "cubic", antialias=True)
    t = jnp.zeros(len(images), jnp.int32)
    encode = zoo.clip_model(config).apply
    return encode({"params": params}, x, t, method="encode_image"), None, None


@functools.partial(jax.jit, static_argnums=0)
def _encode(config: zoo.ClipConfig, params: Params, tokens: Array, mask: Array) -> Any:
    return zoo.clip_model(config).apply({"params": params}, tokens, mask, method="encode_text")
