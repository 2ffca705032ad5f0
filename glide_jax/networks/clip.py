"""The noise-aware CLIP: an image encoder that sees x_t and t, and a causal text encoder."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from glide_jax.networks.blocks import PatchConv, attend, gelu, layer_norm, quiet
from glide_jax.types import Image, Timestep

# Pixel statistics of CLIP's training images, in 0..255 units.
PIXEL_MEAN = (122.77093945, 116.74601272, 104.09373519)
PIXEL_STD = (68.50053285, 66.63215831, 70.32316309)


Activation = Callable[[Array], Array]


def quick_gelu(x: Array) -> Array:
    """The approximation of GELU that OpenAI's released CLIPs were trained with."""
    return x * nn.sigmoid(1.702 * x)


class ClipBlock(nn.Module):
    """Pre-norm transformer block; keys have no bias."""

    heads: int
    causal: bool = False
    dtype: DTypeLike = jnp.float32
    activation: Activation = gelu

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        b, n, d = x.shape
        dense = lambda width, name, bias=True: nn.Dense(
            width, use_bias=bias, kernel_init=quiet, dtype=self.dtype, name=name
        )
        heads = lambda a: a.reshape(b, n, self.heads, d // self.heads)
        y = layer_norm(x, name="ln_1")
        q, k, v = dense(d, "q")(y), dense(d, "k", bias=False)(y), dense(d, "v")(y)
        attended = attend(heads(q), heads(k), heads(v), causal=self.causal)
        x = x + dense(d, "proj")(attended)
        h = dense(4 * d, "fc_in")(layer_norm(x, name="ln_2"))
        return x + dense(d, "fc_out")(self.activation(h))


class ClipImageEncoder(nn.Module):
    """A ViT on noised images; its class token is a learned row per timestep (GLIDE, app. B.1)."""

    patch: int
    width: int
    layers: int
    heads: int
    embedding_width: int
    num_timesteps: int = 1000
    dtype: DTypeLike = jnp.float32
    remat: bool = False  # see `UNet`
    activation: Activation = gelu

    @nn.compact
    def __call__(self, x_t: Image, t: Timestep) -> Float[Array, "b e"]:
        b = x_t.shape[0]
        pixels = ((x_t + 1.0) * 127.5 - jnp.array(PIXEL_MEAN)) / jnp.array(PIXEL_STD)
        patches = PatchConv(
            self.width, self.patch, use_bias=False, dtype=self.dtype, name="patches"
        )
        tokens = patches(pixels).reshape(b, -1, self.width)
        table = lambda name, rows: self.param(
            name, nn.initializers.normal(0.02), (rows, self.width), jnp.float32
        )
        time = table("time_embedding", self.num_timesteps)[t][:, None]
        h = jnp.concatenate([time.astype(tokens.dtype), tokens], axis=1)
        h = h + table("positional_embedding", h.shape[1]).astype(h.dtype)
        h = layer_norm(h, name="ln_in")
        block = nn.remat(ClipBlock) if self.remat else ClipBlock
        for i in range(self.layers):
            h = block(self.heads, False, self.dtype, self.activation, name=f"block_{i}")(h)
        out = nn.Dense(self.embedding_width, use_bias=False, dtype=jnp.float32, name="out")
        return out(layer_norm(h[:, 0], name="ln_out").astype(jnp.float32))


class ClipTextEncoder(nn.Module):
    """A causal transformer read at its last real token."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    context: int
    embedding_width: int
    dtype: DTypeLike = jnp.float32
    remat: bool = False  # see `UNet`
    activation: Activation = gelu

    @nn.compact
    def __call__(self, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"]) -> Float[Array, "b e"]:
        table = lambda name, rows, std=0.02: self.param(
            name, nn.initializers.normal(std), (rows, self.width), jnp.float32
        )
        h = table("token_embedding", self.vocab_size, 1.0)[tokens]
        h = (h + table("positional_embedding", self.context)).astype(self.dtype)
        block = nn.remat(ClipBlock) if self.remat else ClipBlock
        for i in range(self.layers):
            # Padding comes after the end token, so causality alone hides it.
            h = block(self.heads, True, self.dtype, self.activation, name=f"block_{i}")(h)
        end = jnp.take_along_axis(h, (mask.sum(axis=1) - 1)[:, None, None], axis=1)[:, 0]
        out = nn.Dense(self.embedding_width, use_bias=False, dtype=jnp.float32, name="out")
        return out(layer_norm(end, name="ln_out").astype(jnp.float32))


def unit(z: Float[Array, "b e"]) -> Float[Array, "b e"]:
    """Vectors of length one."""
    return z / (jnp.linalg.norm(z, axis=-1, keepdims=True) + 1e-12)


class ClipModel(nn.Module):
    """Both encoders and the logit scale; embeddings are unit vectors."""

    image: ClipImageEncoder
    text: ClipTextEncoder
    logit_scale: float = 100.0  # a constant of the released model, part of no checkpoint

    def encode_image(self, x_t: Image, t: Timestep) -> Float[Array, "b e"]:
        """Unit embeddings of noised images in [-1, 1]."""
        return unit(self.image(x_t, t))

    def encode_text(self, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"]) -> Array:
        """Unit embeddings of prompts; `mask` is True up to and with the end token."""
        return unit(self.text(tokens, mask))

    def log_prob(
        self, x_t: Image, t: Timestep, text_embedding: Float[Array, "b e"]
    ) -> Float[Array, " b"]:
        """Scaled cosine: log p(prompt | x_t) up to a constant (GLIDE, eq. 12).

        Args:
            x_t: noised images.
            t: their timesteps, in 0 ... num_timesteps - 1.
            text_embedding: from `encode_text`.
        """
        return self.logit_scale * (self.encode_image(x_t, t) * text_embedding).sum(axis=-1)

    def initialise(self, x_t: Image, t: Timestep, tokens, mask) -> Array:
        """`log_prob` of prompts, for `init(..., method="initialise")`: it reads every parameter.

        Args:
            x_t: noised images.
            t: their timesteps.
            tokens: the prompts of `encode_text`.
            mask: True up to and with the end token.
        """
        return self.log_prob(x_t, t, self.encode_text(tokens, mask))
