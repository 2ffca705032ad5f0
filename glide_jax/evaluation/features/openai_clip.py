"""OpenAI's CLIP (Radford et al., 2021) from a file of the user's: the paper's CLIP score.

The released file is a TorchScript program, of which only the tensors are read; a state dict with
the same names is read too. Vision transformers only: sizes come from the tensors themselves.
"""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glide_jax.checkpoints.torch import reader
from glide_jax.errors import InputError
from glide_jax.evaluation.features.clip import Clip
from glide_jax.evaluation.features.extractor import Features
from glide_jax.model_dir.convert import State, check_params, file_sha256
from glide_jax.networks.clip import ClipImageEncoder, ClipModel, ClipTextEncoder, quick_gelu
from glide_jax.tokenizers import ClipBPE
from glide_jax.types import Params

NAME = "clip-vit-b16"
SHA256 = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"  # ViT-B-16.pt
_HEAD = 64  # width of every attention head of the family


def load_openai_clip(path: str | os.PathLike) -> Clip:
    """Both encoders of a CLIP in OpenAI's layout, in float32 as the original is on a CPU.

    A file other than ViT-B-16.pt is used, but under a name of its own.

    Raises:
        InputError: the file cannot be read or is another network's.
    """
    state = reader.read_state_dict(path, scripts=True)
    try:
        network, side = clip_network(state)
        params = clip_params(state)
        context = len(state["positional_embedding"])
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{str(path)!r} is not a CLIP with a vision transformer in OpenAI's layout "
            f"({type(error).__name__}: {error})."
        ) from None
    _check(params, network, side, context, path)
    sha256 = file_sha256(path)
    name = NAME if sha256 == SHA256 else f"clip-{sha256[:8]}"
    apply = functools.partial(_apply, network.image, side)
    return Clip(Features(name, sha256, side, params, apply), network, context, ClipBPE())


def clip_network(state: State) -> tuple[ClipModel, int]:
    """The network that a state dict belongs to, and the side of the pictures it takes.

    It is the noise-aware one with one timestep, whose row is the class token.
    """
    width, _, patch, _ = state["visual.conv1.weight"].shape
    grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    text_width, embedding = state["text_projection"].shape
    image = ClipImageEncoder(
        patch=patch,
        width=width,
        layers=_layers(state, "visual.transformer"),
        heads=width // _HEAD,
        embedding_width=embedding,
        num_timesteps=1,
        activation=quick_gelu,
    )
    text = ClipTextEncoder(
        vocab_size=len(state["token_embedding.weight"]),
        width=text_width,
        layers=_layers(state, "transformer"),
        heads=text_width // _HEAD,
        context=len(state["positional_embedding"]),
        embedding_width=embedding,
        activation=quick_gelu,
    )
    scale = float(np.exp(np.float64(state["logit_scale"])))
    return ClipModel(image, text, scale), patch * grid


def _layers(state: State, stack: str) -> int:
    inside = f"{stack}.resblocks."
    return len({n.removeprefix(inside).split(".")[0] for n in state if n.startswith(inside)})


def clip_params(state: State) -> Params:
    """Parameters of a state dict.

    The bias of keys is left out: it adds the same to a query's logits for every key, which the
    softmax takes away again.
    """
    get = lambda name: np.asarray(state[name], np.float32)
    norm = lambda name: {"scale": get(f"{name}.weight"), "bias": get(f"{name}.bias")}
    image = {
        "patches": {"kernel": get("visual.conv1.weight").transpose(2, 3, 1, 0)},
        "time_embedding": get("visual.class_embedding")[None],
        "positional_embedding": get("visual.positional_embedding"),
        "ln_in": norm("visual.ln_pre"),
        "ln_out": norm("visual.ln_post"),
        "out": {"kernel": get("visual.proj")},
        **_blocks(state, "visual.transformer"),
    }
    text = {
        "token_embedding": get("token_embedding.weight"),
        "positional_embedding": get("positional_embedding"),
        "ln_out": norm("ln_final"),
        "out": {"kernel": get("text_projection")},
        **_blocks(state, "transformer"),
    }
    return {"image": image, "text": text}


def _blocks(state: State, stack: str) -> dict[str, Any]:
    return {
        f"block_{i}": _block(state, f"{stack}.resblocks.{i}") for i in range(_layers(state, stack))
    }


def _block(state: State, prefix: str) -> dict[str, Any]:
    get = lambda name: np.asarray(state[f"{prefix}.{name}"], np.float32)
    dense = lambda name: {"kernel": get(f"{name}.weight").T, "bias": get(f"{name}.bias")}
    norm = lambda name: {"scale": get(f"{name}.weight"), "bias": get(f"{name}.bias")}
    q, k, v = np.split(get("attn.in_proj_weight"), 3)
    q_bias, _, v_bias = np.split(get("attn.in_proj_bias"), 3)
    return {
        "ln_1": norm("ln_1"),
        "q": {"kernel": q.T, "bias": q_bias},
        "k": {"kernel": k.T},
        "v": {"kernel": v.T, "bias": v_bias},
        "proj": dense("attn.out_proj"),
        "ln_2": norm("ln_2"),
        "fc_in": dense("mlp.c_fc"),
        "fc_out": dense("mlp.c_proj"),
    }


def _check(
    params: Params, network: ClipModel, side: int, context: int, path: str | os.PathLike
) -> None:
    if context < 2 or network.text.vocab_size < ClipBPE.vocab_size:
        raise InputError(f"{str(path)!r} is for another tokenizer than CLIP's.")
    if min(network.image.heads, network.text.heads) < 1:
        raise InputError(f"{str(path)!r} has layers of fewer than {_HEAD} numbers, a CLIP more.")
    tokens = jnp.zeros((1, context), jnp.int32)
    inputs = jnp.zeros((1, side, side, 3)), jnp.zeros(1, jnp.int32), tokens, tokens == 0
    init = lambda: network.init(jax.random.key(0), *inputs, method="initialise")
    check_params(params, init, "CLIP", path)


def _apply(encoder: ClipImageEncoder, side: int, params: Params, images: UInt8[Array, "b h w 3"]):
    x = clip_resize(jnp.asarray(images, jnp.float32), side) / 127.5 - 1.0
    t = jnp.zeros(len(images), jnp.int32)
    with jax.default_matmul_precision("highest"):
        return encoder.apply({"params": params["image"]}, x, t), None, None


def clip_resize(x: Float[Array, "b h w 3"], side: int) -> Float[Array, "b s s 3"]:
    """The middle square at `side` pixels, as CLIP's own preparation has it by Pillow.

    Bicubic with antialiasing until the shorter side fits, first along rows, then along columns (the
    order of every Pillow before 13), rounded to 8 bits after each, and then the middle.
    """
    height, width = x.shape[1:3]
    short = min(height, width)
    tall, wide = side * height // short, side * width // short
    for shape in ((len(x), height, wide, 3), (len(x), tall, wide, 3)):
        x = jax.image.resize(x, shape, "cubic", antialias=True, precision=jax.lax.Precision.HIGHEST)
        x = jnp.round(x).clip(0, 255)
    top, left = round((tall - side) / 2), round((wide - side) / 2)
    return x[:, top : top + side, left : left + side]
