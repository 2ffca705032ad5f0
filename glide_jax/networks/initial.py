"""Fresh parameters of a network, and their shapes."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from glide_jax.networks import zoo
from glide_jax.networks.blocks import GroupNorm
from glide_jax.networks.interception import intercepting
from glide_jax.types import Cond


def initialiser(
    config: zoo.ModelConfig | zoo.ClipConfig,
) -> Callable[[jax.Array], Mapping[str, Any]]:
    """A function from a key to fresh parameters; traceable."""

    def init(key: jax.Array) -> Mapping[str, Any]:
        size = config.image_size  # traced with the rest: at 16384 pixels they would take 3 GB
        image, t = jnp.zeros((1, size, size, 3)), jnp.zeros((1,), jnp.int32)
        tokens = jnp.zeros((1, config.text_context), jnp.int32)
        mask = jnp.zeros((1, config.text_context), jnp.bool_)
        if isinstance(config, zoo.ClipConfig):
            model, inputs = zoo.clip_model(config), (image, t, tokens, mask)
        else:
            model, inputs = zoo.glide_model(config), (tokens, mask, image, t, Cond(low_res=image))
        with intercepting(_without_norms):
            return model.init(key, *inputs, method="initialise")["params"]

    return init


def _without_norms(next_call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
    """Makes a norm's parameters without its arithmetic, a third of the time to trace a network."""
    if isinstance(context.module, GroupNorm) and context.method_name == "__call__":
        context.module.scale_and_bias(args[0].shape[-1])
        return args[0]
    return next_call(*args, **kwargs)


@functools.lru_cache
def shapes(config: zoo.ModelConfig | zoo.ClipConfig) -> Mapping[str, Any]:
    """The parameter tree of a config as ShapeDtypeStructs."""
    return jax.eval_shape(initialiser(config), jax.random.key(0))
