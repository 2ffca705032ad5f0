"""Configs to stages: networks as functions of their parameters."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from glide_jax.diffusion import parameterization, schedules
from glide_jax.model_dir.schema import StageConfig
from glide_jax.networks import zoo
from glide_jax.networks.unet import inner_shape
from glide_jax.types import Stage


@dataclasses.dataclass(frozen=True)
class ClipStage:
    """The noise-aware CLIP as functions of its parameters."""

    log_prob: Callable[..., jax.Array]  # (params, x_t, t, text_embedding=) -> (b,)
    log_prob_clean: Callable[..., jax.Array]  # (params, x_0, text_embedding=) -> (b,)
    encode: Callable[..., jax.Array]  # (params, tokens, mask) -> (b, e)
    context: int


@functools.lru_cache
def stage(
    config: StageConfig, dtype: str, around: Callable[[Callable], Callable] = lambda apply: apply
) -> Stage:
    """The stage of a config. Cached: equal configs share their compiled programs.

    Args:
        config: the stage's.
        dtype: the type that it computes in.
        around: wraps its network's `apply`, such as `plan.on_mesh`.
    """
    model = zoo.glide_model(config.model, jnp.dtype(dtype))
    apply = around(model.apply)
    alpha_bar = schedules.alpha_bar(config.noise_schedule)
    bind: Callable[..., Any] = lambda params: functools.partial(apply, {"params": params})
    return Stage(
        network=lambda params: parameterization.predicting_eps(
            bind(params), alpha_bar, config.prediction
        ),
        encode=lambda params, *text: bind(params)(*text, method="encode"),
        alpha_bar=alpha_bar,
        image_size=config.model.image_size,
        divisor=config.model.divisor,
        context=config.model.text_context,
        upsampler=config.model.upsampler,
        inpaint=config.model.inpaint,
        styles=config.styles,
        guidance=config.model.guidance,
        away=config.model.away,
        distilled=config.distilled,
        inner=lambda height, width: jax.ShapeDtypeStruct(
            inner_shape(config.model, height, width), jnp.dtype(dtype)
        ),
    )


@functools.lru_cache
def clip_stage(config: zoo.ClipConfig, dtype: str) -> ClipStage:
    """The noise-aware CLIP of a config."""
    model = zoo.clip_model(config, jnp.dtype(dtype))
    apply: Callable[..., Any] = model.apply
    call = lambda method: (
        lambda params, *a, **named: apply({"params": params}, *a, **named, method=method)
    )
    log_prob = call("log_prob")
    clean = lambda params, x_0, text_embedding: log_prob(
        params, x_0, jnp.zeros(len(x_0), jnp.int32), text_embedding
    )
    return ClipStage(log_prob, clean, call("encode_text"), config.text_context)
