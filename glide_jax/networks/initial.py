"""Fresh parameters of a network, and their shapes."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from glide_jax.networks import zoo
from glide_jax.types import Cond


def initialiser(
    config: zoo.ModelConfig | zoo.ClipConfig,
) -> Callable[[jax.Array], Mapping[str, Any]]:
    """A function from a key to fresh parameters; traceable."""
    size = config.image_size
    image, t = jnp.zeros((1, size, size, 3)), jnp.zeros((1,), jnp.int32)
    tokens = jnp.zeros((1, config.text_context), jnp.int32)
    mask = jnp.zeros((1, config.text_context), jnp.bool_)
    if isinstance(config, zoo.ClipConfig):
        model, inputs = zoo.clip_model(config), (image, t, tokens, mask)
    else:
        model, inputs = zoo.glide_model(config), (tokens, mask, image, t, Cond(low_res=image))
    return lambda key: model.init(key, *inputs, method="initialise")["params"]


@functools.lru_cache
def shapes(config: zoo.ModelConfig | zoo.ClipConfig) -> Mapping[str, Any]:
    """The parameter tree of a config as ShapeDtypeStructs."""
    return jax.eval_shape(initialiser(config), jax.random.key(0))
