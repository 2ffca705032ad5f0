"""PyTorch state dicts to Flax parameters and back; the only place that knows NCHW.

One table of names serves both directions: each Flax path is paired with the PyTorch name and the
kind of layout change between them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from glide_jax.errors import InputError
from glide_jax.trees import flatten, unflatten

# How a tensor's layout differs, PyTorch to Flax.
CONV = "conv"  # [O, I, h, w] -> [h, w, I, O]
CONV1D = "conv1d"  # [O, I, 1] -> [I, O]
LINEAR = "linear"  # [O, I] -> [I, O]
SAME = "same"

Entry = tuple[str, str, str]  # Flax path, PyTorch name, layout

_TEXT_LAYER = {
    "ln_1": ("ln_1", "norm"),
    "qkv": ("attn.c_qkv", LINEAR),
    "proj": ("attn.c_proj", LINEAR),
    "ln_2": ("ln_2", "norm"),
    "fc_in": ("mlp.c_fc", LINEAR),
    "fc_out": ("mlp.c_proj", LINEAR),
}
_RES_BLOCK = {
    "in_norm": ("in_layers.0", "norm"),
    "in_conv": ("in_layers.2", CONV),
    "emb": ("emb_layers.1", LINEAR),
    "out_norm": ("out_layers.0", "norm"),
    "out_conv": ("out_layers.3", CONV),
    "skip": ("skip_connection", CONV),
}
_ATTENTION = {"norm": ("norm", "norm"), "qkv": ("qkv", CONV1D), "proj": ("proj_out", CONV1D)}
_CLIP_BLOCK = {
    "ln_1": ("f_attn.ln", "norm"),
    "q": ("f_attn.f_q", LINEAR),
    "k": ("f_attn.f_k", LINEAR),
    "v": ("f_attn.f_v", LINEAR),
    "proj": ("f_attn.f_c", LINEAR),
    "ln_2": ("f_mlp.ln", "norm"),
    "fc_in": ("f_mlp.f_1", LINEAR),
    "fc_out": ("f_mlp.f_2", LINEAR),
}


def glide_entry(path: str) -> Entry:
    """The PyTorch name and layout of one parameter of a `GlideModel`."""
    part, *rest = path.split("/")
    if part == "text":
        return _text_entry(path, rest)
    if part == "keys_values":
        block, leaf = rest
        return _layer(path, f"{_place(block)}.1.encoder_kv", CONV1D, leaf)
    block, *rest = rest
    top = {
        "time_in": ("time_embed.0", LINEAR),
        "time_out": ("time_embed.2", LINEAR),
        "input_0": ("input_blocks.0.0", CONV),
        "out_norm": ("out.0", "norm"),
        "out_conv": ("out.2", CONV),
    }
    if block in top:
        return _layer(path, *top[block], rest[0])
    name, role = block.rsplit("_", 1)
    place, first = _place(name), "2" if name == "middle_1" else "0"
    match role:
        case "res":
            return _sub(path, f"{place}.{first}", _RES_BLOCK, rest)
        case "attn":
            return _sub(path, f"{place}.1", _ATTENTION, rest)
        case "conv":  # a strided convolution
            return _layer(path, f"{place}.0.op", CONV, rest[0])
        case "up" if len(rest) == 1:  # upsample, then a convolution
            return _layer(path, f"{place}.@up.conv", CONV, rest[0])
        case "up":
            return _sub(path, f"{place}.@up", _RES_BLOCK, rest)
    raise KeyError(path)


def _text_entry(path: str, rest: list[str]) -> Entry:
    name, *rest = rest
    if name.startswith("block_"):
        layer = f"transformer.resblocks.{name.removeprefix('block_')}"
        return _sub(path, layer, _TEXT_LAYER, rest)
    if name == "token_embedding":
        return path, "token_embedding.weight", SAME
    if not rest:
        return path, name, SAME
    if name == "final_ln":
        return _layer(path, "final_ln", "norm", rest[0])
    return _layer(path, "transformer_proj", LINEAR, rest[0])


def _place(block: str) -> str:
    side, index = block.split("_")
    return "middle_block" if side == "middle" else f"{side}_blocks.{index}"


def _sub(path: str, place: str, table: Mapping[str, tuple[str, str]], rest: list[str]) -> Entry:
    name, layout = table[rest[0]]
    return _layer(path, f"{place}.{name}", layout, rest[1])


def _layer(path: str, name: str, layout: str, leaf: str) -> Entry:
    if leaf == "bias":
        return path, f"{name}.bias", SAME
    return path, f"{name}.weight", SAME if leaf == "scale" else layout


def clip_entry(path: str) -> Entry:
    """The PyTorch name and layout of one parameter of a CLIP encoder (path below image or text)."""
    name, *rest = path.split("/")
    tables = {
        "token_embedding": "blocks.input.w_voc",
        "time_embedding": "blocks.input.w_t",
        "positional_embedding": "blocks.input.w_pos",
    }
    if name in tables:
        return path, tables[name], SAME
    if name == "patches":
        return path, "blocks.input.patch_proj", CONV
    if name.startswith("block_"):
        place, layout = _CLIP_BLOCK[rest[0]]
        return _clip_layer(path, f"blocks.{name}.{place}", layout, rest[1])
    if name == "out":
        return _clip_layer(path, "blocks.output.f", LINEAR, rest[0])
    place = {"ln_in": "blocks.input.ln", "ln_out": "blocks.output.ln"}[name]
    return _clip_layer(path, place, "norm", rest[0])


def _clip_layer(path: str, name: str, layout: str, leaf: str) -> Entry:
    suffix = {"kernel": "w", "scale": "g", "bias": "b"}[leaf]
    return path, f"{name}.{suffix}", layout if leaf == "kernel" else SAME


def entries(shapes: Mapping[str, Any], entry=glide_entry) -> Iterator[Entry]:
    """The entries of a whole model, given its parameters or their shapes.

    An up block is index 1 of its place in PyTorch when the place has no attention, else 2.
    """
    for path in flatten(shapes):
        path, name, layout = entry(path)
        if "@up" in name:
            block = path.split("/")[1].removesuffix("_up")
            name = name.replace("@up", "2" if f"{block}_attn" in shapes["unet"] else "1")
        yield path, name, layout


def to_flax(tensor: np.ndarray, layout: str) -> np.ndarray:
    """A PyTorch tensor in Flax's layout."""
    match layout:
        case "conv":
            return tensor.transpose(2, 3, 1, 0)
        case "conv1d":
            return tensor[:, :, 0].T
        case "linear":
            return tensor.T
    return tensor


def to_torch(array: np.ndarray, layout: str) -> np.ndarray:
    """The inverse of `to_flax`."""
    match layout:
        case "conv":
            return array.transpose(3, 2, 0, 1)
        case "conv1d":
            return array.T[:, :, None]
        case "linear":
            return array.T
    return array


def import_params(
    state: Mapping[str, np.ndarray], shapes: Mapping[str, Any], entry=glide_entry
) -> dict[str, Any]:
    """Flax parameters (nested, float32) from a PyTorch state dict.

    Args:
        state: name to tensor in PyTorch's layout, any float dtype.
        shapes: the model's parameter tree, of arrays or ShapeDtypeStructs.
        entry: `glide_entry` or `clip_entry`.

    Raises:
        InputError: a tensor is missing, superfluous or of another shape.
    """
    shapes_flat, out, used = flatten(shapes), {}, set()
    for path, name, layout in entries(shapes, entry):
        if name not in state:
            raise InputError(f"the checkpoint has no tensor {name!r}, so it is of another model.")
        array = to_flax(np.asarray(state[name]), layout)
        if array.shape != tuple(shapes_flat[path].shape):
            want = to_torch(np.empty(shapes_flat[path].shape, np.bool_), layout).shape
            raise InputError(
                f"tensor {name!r} has shape {tuple(np.shape(state[name]))}, "
                f"but this model's is {want}."
            )
        out[path] = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(out[path]).all():
            raise InputError(f"tensor {name!r} has numbers that are not finite: it is damaged.")
        used.add(name)
    unused = sorted(set(state) - used)
    if unused:
        raise InputError(
            f"the checkpoint has {len(unused)} tensors this model lacks, such as {unused[0]!r}."
        )
    return unflatten(out)


def export_params(params: Mapping[str, Any], entry=glide_entry) -> dict[str, np.ndarray]:
    """A PyTorch state dict from Flax parameters; the inverse of `import_params`."""
    flat = flatten(params)
    return {
        name: np.ascontiguousarray(to_torch(np.asarray(flat[path]), layout))
        for path, name, layout in entries(params, entry)
    }
