"""CLIPs as extractors with embeddings of captions; a model directory's own noise-aware CLIP."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glide_jax.evaluation.features.extractor import Features
from glide_jax.networks import zoo
from glide_jax.networks.clip import ClipModel
from glide_jax.tokenizers import Tokenizer
from glide_jax.trees import flatten
from glide_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Clip:
    """Both encoders; `images.pool` are the pictures' embeddings, of any length."""

    images: Features
    network: ClipModel
    context: int
    tokenizer: Tokenizer

    def texts(self, captions: Sequence[str], *, batch_size: int = 64) -> Float[np.ndarray, "n e"]:
        """Unit embeddings of captions; equal ones are encoded once, `batch_size` at a time."""
        different = list(dict.fromkeys(captions))
        tokens, mask = self.tokenizer(different, self.context)
        size = min(batch_size, len(different))
        parts = []
        for start in range(0, len(different), size):
            rows = np.arange(start, start + size).clip(max=len(different) - 1)
            encoded = _encode(self.network, self.images.params, tokens[rows], mask[rows])
            parts.append(np.asarray(encoded)[: len(different) - start])
        place = {caption: i for i, caption in enumerate(different)}
        return np.concatenate(parts)[[place[caption] for caption in captions]]


def noised_clip(name: str, config: zoo.ClipConfig, tokenizer: Tokenizer, params: Params) -> Clip:
    """The CLIP of a model directory at t = 0.

    Args:
        name: the model's name.
        config: sizes of the CLIP.
        tokenizer: its tokenizer.
        params: its parameters, whose sum takes the place of a file's.
    """
    digest = hashlib.sha256()
    for path, leaf in sorted(flatten(params).items()):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(leaf, np.float32).tobytes())
    network, side = zoo.clip_model(config), config.image_size
    apply = functools.partial(_apply, network, side)
    features = Features(f"noised-clip-of-{name}", digest.hexdigest(), side, params, apply)
    return Clip(features, network, config.text_context, tokenizer)


def _apply(network: ClipModel, side: int, params: Params, images: UInt8[Array, "b h w 3"]):
    x = jnp.asarray(images, jnp.float32) / 127.5 - 1.0
    x = jax.image.resize(x, (len(images), side, side, 3), "cubic", antialias=True)
    t = jnp.zeros(len(images), jnp.int32)
    return network.apply({"params": params}, x, t, method="encode_image"), None, None


@functools.partial(jax.jit, static_argnums=0)
def _encode(network: ClipModel, params: Params, tokens: Array, mask: Array) -> Any:
    with jax.default_matmul_precision("highest"):
        return network.apply({"params": params}, tokens, mask, method="encode_text")
