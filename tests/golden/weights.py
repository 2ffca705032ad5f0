"""The rules that stand for weights and inputs in the golden data, and the networks they fill.

Nothing large is shipped: every tensor is standard normal noise seeded by the checksum of its name,
scaled by kind, and both sides generate it.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glide_jax.checkpoints.torch import names
from glide_jax.networks import zoo
from glide_jax.types import Cond
from tests.golden.files import Arrays

TABLES = {"positional_embedding", "padding_embedding", "w_voc", "w_pos", "w_t", "pred_state"}


def normal(key: str, shape) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    return rng.standard_normal(tuple(shape), dtype=np.float32)


def weight(name: str, shape, salt: str = "") -> np.ndarray:
    """A PyTorch tensor by its name; `salt` changes the noise but not the scale."""
    n, f, last = normal(salt + name, shape), np.float32, name.split(".")[-1]
    if last in TABLES or name.endswith("token_embedding.weight"):
        return n * f(0.5)
    if len(shape) >= 2:
        return n * f(1 / math.sqrt(math.prod(shape[1:])))
    if last in {"bias", "b"}:
        return n * f(0.1)
    return f(1) + n * f(0.1)


class RuleState(Mapping):
    """A PyTorch state dict whose tensors are made when they are asked for."""

    def __init__(self, params: list, salt: str):
        self.shapes = {row[0]: tuple(row[1]) for row in params}
        self.salt = salt

    def __getitem__(self, name: str) -> np.ndarray:
        return weight(name, self.shapes[name], self.salt)

    def __iter__(self):
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def image_input(stored: Arrays, name: str, case: str, shape=None) -> np.ndarray:
    """An input by rule; a stored copy must be that, or is taken where no rule makes it."""
    key = f"in_{name}"
    noise = normal(f"in/{case}/{name}", stored[key].shape if key in stored else shape)
    by_rule = [noise, np.clip(np.float32(0.5) * noise, -1, 1), np.float32(0.6) * noise]
    if key not in stored:
        made = by_rule[0 if name == "x" else 1]
        if f"{key}_crc32" in stored:
            _same_stream(made, stored, key)
        return made
    close = [np.abs(stored[key] - made).max() < 1e-2 for made in by_rule]
    if any(close):
        np.testing.assert_array_equal(stored[key], by_rule[close.index(True)], err_msg=key)
    if f"{key}_crc32" in stored:
        _same_stream(stored[key], stored, key)
    return stored[key]


def _same_stream(made: np.ndarray, stored: Arrays, key: str) -> None:
    np.testing.assert_array_equal(made.reshape(-1)[:8], stored[f"{key}_first8"])
    assert zlib.crc32(made.tobytes()) == stored[f"{key}_crc32"], key


def nhwc(a: np.ndarray) -> jax.Array:
    return jnp.asarray(a, jnp.float32).transpose(0, 2, 3, 1)


def nchw(a: jax.Array) -> np.ndarray:
    return np.asarray(a).transpose(0, 3, 1, 2)


class Glide(NamedTuple):
    """A network, its weights by the rule, and the size it is of."""

    model: nn.Module
    params: Any
    config: zoo.ModelConfig


def model_config(kwargs: dict[str, Any]) -> zoo.ModelConfig:
    """Our configuration for the keywords of the reference's `create_model`."""
    ints = lambda text: tuple(int(part) for part in text.split(","))
    default_mult = {256: (1, 1, 2, 2, 4, 4), 128: (1, 1, 2, 3, 4), 64: (1, 2, 3, 4)}
    mult, size = kwargs["channel_mult"], kwargs["image_size"]
    return zoo.ModelConfig(
        image_size=size,
        channels=kwargs["num_channels"],
        channel_mult=ints(mult) if mult else default_mult[size],
        res_blocks=kwargs["num_res_blocks"],
        attention=ints(kwargs["attention_resolutions"]),
        head_channels=kwargs["num_head_channels"],
        heads=kwargs["num_heads"],
        heads_up=kwargs["num_heads_upsample"],
        scale_shift=kwargs["use_scale_shift_norm"],
        resblock_updown=kwargs["resblock_updown"],
        dropout=kwargs["dropout"],
        text_width=kwargs["xf_width"],
        text_layers=kwargs["xf_layers"],
        text_heads=kwargs["xf_heads"],
        text_context=kwargs["text_ctx"],
        text_final_norm=kwargs["xf_final_ln"],
        text_padding=kwargs["xf_padding"],
        upsampler=kwargs["super_res"],
        inpaint=kwargs["inpaint"],
    )


def glide_shapes(config: zoo.ModelConfig) -> Any:
    """The parameter tree of a GLIDE network, of shapes only."""
    model, size = zoo.glide_model(config), config.divisor * 2
    image = jnp.zeros((1, size, size, 3))
    mask_known = jnp.zeros((1, size, size, 1))
    tokens = jnp.zeros((1, config.text_context), jnp.int32)
    cond = Cond(low_res=image, known=image, mask_known=mask_known)
    init = lambda: model.init(
        jax.random.key(0), tokens, tokens > 0, image, jnp.zeros(1), cond, method="initialise"
    )
    return jax.eval_shape(init)["params"]


def glide(kwargs: dict[str, Any], params: list, salt: str) -> Glide:
    """A GLIDE network with weights by the rule, through the importer that real ones go through."""
    config = model_config(kwargs)
    flax = names.import_params(RuleState(params, salt), glide_shapes(config))
    return Glide(zoo.glide_model(config), jax.tree.map(jnp.asarray, flax), config)


def clip_config(options: dict[str, Any]) -> zoo.ClipConfig:
    """Our configuration for the options of the reference's CLIP."""
    return zoo.ClipConfig(
        image_size=options["image_size"],
        patch=options["patch_size"],
        image_width=options["n_head_image"] * options["n_head_state_image"],
        image_layers=options["n_xf_blocks_image"],
        image_heads=options["n_head_image"],
        text_width=options["n_head_text"] * options["n_head_state_text"],
        text_layers=options["n_xf_blocks_text"],
        text_heads=options["n_head_text"],
        text_context=options["max_text_len"],
        vocab_size=options["n_vocab"],
        embedding_width=options["n_embd"],
        num_timesteps=options["n_timesteps"],
        logit_scale=options["logit_scale"],
    )


def clip_shapes(config: zoo.ClipConfig) -> Any:
    """The parameter tree of a CLIP, of shapes only: `image` and `text`."""
    model = zoo.clip_model(config)
    image = jnp.zeros((1, config.image_size, config.image_size, 3))
    tokens = jnp.zeros((1, config.text_context), jnp.int32)
    init = lambda: model.init(
        jax.random.key(0), image, jnp.zeros(1, jnp.int32), tokens, tokens == 0, method="initialise"
    )
    return jax.eval_shape(init)["params"]


def clip(options: dict[str, Any], params: dict[str, list], salts: dict[str, str]) -> Glide:
    """A CLIP with weights by the rule; `params` and `salts` have an `image` and a `text` side."""
    config = clip_config(options)
    shapes = clip_shapes(config)
    flax = {
        side: names.import_params(
            RuleState(params[side], salts[side]), shapes[side], names.clip_entry
        )
        for side in ("image", "text")
    }
    return Glide(zoo.clip_model(config), jax.tree.map(jnp.asarray, flax), config)
