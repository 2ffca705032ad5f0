"""MiniLM (Wang et al., 2020): a small BERT whose mean vector stands for a sentence.

A function of the released arrays by their names, for inference only.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

HEADS = 12
_EPS = 1e-12  # BERT's layer normalisation

Arrays = Mapping[str, Float[Array, "..."]]


def encode_sentences(
    arrays: Arrays, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"]
) -> Float[Array, "b d"]:
    """Unit vectors of sentences: the mean of their tokens' (Reimers & Gurevych, 2019).

    Args:
        arrays: those of the released safetensors file.
        tokens: ids with both markers.
        mask: True at real tokens; one at least in each row.
    """

    def dense(x: Array, name: str) -> Array:
        kernel = arrays[f"{name}.weight"].T
        return jnp.matmul(x, kernel, precision="highest") + arrays[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        x = jax.nn.standardize(x, epsilon=_EPS)
        return x * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]

    def attend(x: Array, name: str) -> Array:
        heads = lambda part: dense(x, f"{name}.self.{part}").reshape(*x.shape[:2], HEADS, -1)
        seen = mask[:, None, None, :]
        mixed = jax.nn.dot_product_attention(*map(heads, ("query", "key", "value")), mask=seen)
        return dense(mixed.reshape(x.shape), f"{name}.output.dense")

    table = lambda name: arrays[f"embeddings.{name}_embeddings.weight"]
    x = table("word")[tokens] + table("position")[: tokens.shape[1]] + table("token_type")[0]
    x = norm(x, "embeddings.LayerNorm")
    layers = len({name.split(".")[2] for name in arrays if name.startswith("encoder.layer.")})
    for i in range(layers):
        name = f"encoder.layer.{i}"
        x = norm(x + attend(x, f"{name}.attention"), f"{name}.attention.output.LayerNorm")
        h = jax.nn.gelu(dense(x, f"{name}.intermediate.dense"), approximate=False)
        x = norm(x + dense(h, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = jnp.mean(x, axis=1, where=mask[..., None])
    return mean / jnp.linalg.norm(mean, axis=1, keepdims=True)
