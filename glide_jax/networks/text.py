"""The text encoder: a bidirectional transformer over the whole padded context."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from glide_jax.networks.blocks import attend, gelu, layer_norm, quiet
from glide_jax.networks.model_config import ModelConfig


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, as in GPT-2 but unmasked: padding attends and is attended to."""

    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        b, n, d = x.shape
        dense = lambda width, name: nn.Dense(width, kernel_init=quiet, dtype=self.dtype, name=name)
        qkv = dense(3 * d, "qkv")(layer_norm(x, name="ln_1"))
        q, k, v = jnp.moveaxis(qkv.reshape(b, n, self.heads, 3, d // self.heads), 3, 0)
        x = x + dense(d, "proj")(attend(q, k, v))
        h = dense(4 * d, "fc_in")(layer_norm(x, name="ln_2"))
        return x + dense(d, "fc_out")(gelu(h))


class TextEncoder(nn.Module):
    """Tokens to a pooled vector and a sequence (GLIDE, section 2.1).

    The pooled vector is read from the last position of the context, which is nearly always
    padding. Masked positions are replaced, position and all, by a learned padding embedding;
    without it (`text_padding=False`) the mask is ignored, as in the reference.
    """

    config: ModelConfig
    dtype: DTypeLike = jnp.float32
    remat: bool = False  # see `UNet`

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"]
    ) -> tuple[Float[Array, "b e"], Float[Array, "b n d"]]:
        config = self.config
        table = lambda name, rows, std=1.0: self.param(
            name, nn.initializers.normal(std), (rows, config.text_width), jnp.float32
        )
        # Positions as large as tokens: with a fiftieth of it, a caption stays a bag of words.
        h = table("token_embedding", config.vocab_size)[tokens]
        h = h + table("positional_embedding", config.text_context)
        if config.text_padding:
            h = jnp.where(mask[..., None], h, table("padding_embedding", config.text_context, 0.02))
        h = h.astype(self.dtype)
        block = nn.remat(TransformerBlock) if self.remat else TransformerBlock
        for i in range(config.text_layers):
            h = block(config.text_heads, self.dtype, name=f"block_{i}")(h)
        if config.text_final_norm:
            h = layer_norm(h, name="final_ln")
        pooled = nn.Dense(4 * config.channels, dtype=self.dtype, name="pool")(h[:, -1])
        return pooled.astype(jnp.float32), h
