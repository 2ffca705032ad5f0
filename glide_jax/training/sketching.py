"""The objective of sketches: a base's text encoder learns from small pictures what words look like.

A base learns its words slowly. Only the noisiest timesteps ask what a caption means, and each
picture costs a whole network. A linear layer on the text encoder alone costs a tenth of that time.
The base that goes on from it has one thing to learn for all words at once, to read sketches.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from glide_jax.errors import InputError
from glide_jax.networks.model_config import ModelConfig
from glide_jax.training.objectives import Batch, emptied
from glide_jax.types import Image, Loss, Params, TextCond

SIDE = 16  # pixels of a sketch's side; a base's image_size is a multiple
OTHERS = ("^unet/", "^keys_values/")  # what a run of sketches leaves as it is


def check(model: ModelConfig) -> None:
    """Refuses networks without words, and those whose pictures have no sketches of SIDE pixels.

    Raises:
        InputError: the network is such a one.
    """
    if model.upsampler or not model.text_width:
        raise InputError(
            "objective is 'sketches', which trains the text encoder of a base; the config's "
            f"network is {'an upsampler' if model.upsampler else 'without text'}."
        )
    if model.image_size % SIDE:
        raise InputError(
            f"model.image_size is {model.image_size}; for sketches it must be a multiple of {SIDE}."
        )


def with_sketcher(base: Params) -> dict[str, Any]:
    """A base's parameters with, beside them, the layer that sketches, which starts at zero."""
    width, numbers = base["text"]["pool"]["kernel"].shape[-1], SIDE * SIDE * 3
    layer = {"kernel": jnp.zeros((width, numbers)), "bias": jnp.zeros(numbers)}
    return {**base, "sketcher": layer}


def without_sketcher(params: Params) -> Params:
    """The base's parameters alone."""
    return {name: branch for name, branch in params.items() if name != "sketcher"}


def sketched(params: Params, pooled: Float[Array, "b e"]) -> Image:
    """The picture that pooled text is expected to be: (b, SIDE, SIDE, 3), about [-1, 1].

    The text goes through the nonlinearity that stands before it in every block of the UNet.

    Args:
        params: those of `with_sketcher`.
        pooled: the text's condition of b prompts.
    """
    layer = params["sketcher"]
    flat = jnp.matmul(jax.nn.silu(pooled), layer["kernel"], precision="highest") + layer["bias"]
    return flat.reshape(-1, SIDE, SIDE, 3)


def small(image: Image) -> Image:
    """Pictures (b, n SIDE, n SIDE, 3) as means of squares: (b, SIDE, SIDE, 3)."""
    b, h, w, _ = image.shape
    return image.reshape(b, SIDE, h // SIDE, SIDE, w // SIDE, 3).mean(axis=(2, 4))


def sketches(
    encode: Callable[[Params, Array, Array], TextCond],
    null_tokens: Int[Array, " n"],
    null_fraction: float,
) -> Loss:
    """The mean squared error of sketches of captions, some of them emptied.

    An emptied caption is to draw the batch's mean, which says the same as the pictures one by one
    and pulls in one direction. `explained` is of the other captions: what their error is less than
    that of the mean, 0 to 1: 0 where captions tell nothing. Parameters are those of
    `with_sketcher`.

    Args:
        encode: (params, tokens, mask) to the text's condition; must ignore the sketcher in params.
        null_tokens: the empty prompt, whose mask is all False.
        null_fraction: fraction of captions that are emptied, so that "" is the mean picture.
    """

    def loss(params: Params, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        batch = emptied(batch, null_tokens, null_fraction, key)
        target = small(batch.image)
        mean = target.mean(axis=0)
        told = batch.mask.any(axis=1)
        aim = jnp.where(told[:, None, None, None], target, mean)
        found = sketched(params, encode(params, batch.tokens, batch.mask).pooled)
        errors = ((found - aim) ** 2).mean(axis=(1, 2, 3))
        error = (errors * told).sum() / jnp.maximum(told.sum(), 1)
        spread = jnp.maximum(((target - mean) ** 2).mean(), 1e-12)
        return errors.mean(), {"explained": 1.0 - error / spread}

    return loss
