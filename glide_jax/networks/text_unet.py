"""GLIDE's networks: a text encoder and a UNet, one module with four kinds of input."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from glide_jax.networks.blocks import resize_bilinear
from glide_jax.networks.model_config import ModelConfig
from glide_jax.networks.text import TextEncoder
from glide_jax.networks.unet import UNet, attention_blocks
from glide_jax.types import Cond, Image, Prediction, TextCond, Timestep


class TextKeysValues(nn.Module):
    """The text's keys and values for every attention layer of a UNet."""

    config: ModelConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, sequence: Float[Array, "b n d"]) -> dict[str, Array]:
        def project(name: str, width: int, heads: int) -> Array:
            out = nn.Dense(2 * width, dtype=self.dtype, name=name)(sequence)
            # (head, k or v, channel), the order of the released weights
            out = out.reshape(*out.shape[:2], heads, 2, width // heads)
            return out.transpose(0, 1, 3, 2, 4)

        return {b.name: project(b.name, b.channels, b.heads) for b in attention_blocks(self.config)}


class GlideModel(nn.Module):
    """Text-conditional UNet with optional low-res and inpainting planes (GLIDE, section 2).

    `encode` runs once per prompt; `__call__` once per step and never sees tokens. Four stems,
    one module: base, upsampler (`upsampler=True`), and either with `inpaint=True`.
    """

    unet: UNet
    text: TextEncoder | None = None
    keys_values: TextKeysValues | None = None

    def encode(self, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"]) -> TextCond | None:
        """All that the UNet needs of prompts; None for a model without text.

        Args:
            tokens: ids, padded to the context.
            mask: True where a token is real; all False is the empty prompt.
        """
        if self.text is None or self.keys_values is None:
            return None
        pooled, sequence = self.text(tokens, mask)
        return TextCond(pooled, self.keys_values(sequence))

    def token_logits(
        self, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"]
    ) -> Float[Array, "b n v"]:
        """Logits of the word at each position, for training only.

        The head is the token embedding's transpose, so it adds no parameter; its rows have length
        sqrt(width) in a fresh network, and dividing by that makes logits of unit variance.
        """
        assert self.text is not None, "a model without text has no words to predict"
        _, sequence = self.text(tokens, mask)
        table = nn.meta.unbox(self.text.get_variable("params", "token_embedding"))
        return sequence.astype(jnp.float32) @ table.T / math.sqrt(self.text.config.text_width)

    def __call__(
        self,
        x_t: Image,
        t: Timestep,
        cond: Cond,
        *,
        kept: tuple[Image, ...] | None = None,
        train: bool = False,
    ) -> Prediction:
        """The prediction at x_t.

        Args:
            x_t: noised images.
            t: their timesteps, which count trained ones.
            cond: the condition.
            kept: see `UNet`.
            train: whether dropout is on.
        """
        planes = [x_t]
        if self.unet.config.inpaint:
            planes += self._inpainting_planes(x_t, cond)
        if self.unet.config.upsampler:
            assert cond.low_res is not None, "an upsampler needs Cond.low_res"
            planes.append(resize_bilinear(cond.low_res, x_t.shape[1], x_t.shape[2]))
        x = jnp.concatenate(planes, axis=-1)
        return self.unet(x, t, cond.text, cond.guidance, cond.away, kept, train=train)

    def initialise(self, tokens, mask, x_t: Image, t: Timestep, cond: Cond) -> Prediction:
        """A prediction from tokens, for `init(..., method="initialise")`: it reads every parameter.

        Args:
            tokens: ids, padded to the context.
            mask: True where a token is real.
            x_t: noised images.
            t: their timesteps.
            cond: the condition except for its text.
        """
        return self(x_t, t, cond._replace(text=self.encode(tokens, mask)))

    @staticmethod
    def _inpainting_planes(x_t: Image, cond: Cond) -> list[Image]:
        if cond.known is None or cond.mask_known is None:  # the model paints every pixel
            return [jnp.zeros_like(x_t), jnp.zeros_like(x_t[..., :1])]
        return [cond.known * cond.mask_known, cond.mask_known]
