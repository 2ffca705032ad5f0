"""PyTorch state dicts to Flax parameters and back; the only place that knows NCHW.

One table of names serves both directions: it pairs each Flax path with a PyTorch name and with the
difference between the two layouts.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from glide_jax.errors import InputError
from glide_jax.trees import flatten, unflatten

# Layouts of a tensor, PyTorch to Flax.
CONV = "conv"  # [O, I, h, w] -> [h, w, I, O]
CONV1D = "conv1d"  # [O, I, 1] -> [I, O]
LINEAR = "linear"  # [O, I] -> [I, O]
SAME = "same"

Entry = tuple[str, str, str]  # Flax path, PyTorch name, layout
_Table = Mapping[str, tuple[str, str]]  # Flax module -> PyTorch module, layout of its kernel

_TEXT_LAYER: _Table = {
    "ln_1": ("ln_1", SAME),
    "qkv": ("attn.c_qkv", LINEAR),
    "proj": ("attn.c_proj", LINEAR),
    "ln_2": ("ln_2", SAME),
    "fc_in": ("mlp.c_fc", LINEAR),
    "fc_out": ("mlp.c_proj", LINEAR),
}
_RES_BLOCK: _Table = {
    "in_norm": ("in_layers.0", SAME),
    "in_conv": ("in_layers.2", CONV),
    "emb": ("emb_layers.1", LINEAR),
    "out_norm": ("out_layers.0", SAME),
    "out_conv": ("out_layers.3", CONV),
    "skip": ("skip_connection", CONV),
}
_ATTENTION: _Table = {
    "norm": ("norm", SAME),
    "qkv": ("qkv", CONV1D),
    "proj": ("proj_out", CONV1D),
}
_CLIP_BLOCK: _Table = {
    "ln_1": ("f_attn.ln", SAME),
    "q": ("f_attn.f_q", LINEAR),
    "k": ("f_attn.f_k", LINEAR),
    "v": ("f_attn.f_v", LINEAR),
    "proj": ("f_attn.f_c", LINEAR),
    "ln_2": ("f_mlp.ln", SAME),
    "fc_in": ("f_mlp.f_1", LINEAR),
    "fc_out": ("f_mlp.f_2", LINEAR),
}


def _inside(pattern: str, name: str, layers: _Table) -> _Table:
    """The layers of a block, under the block's Flax pattern and PyTorch name."""
    return {f"{pattern}/{k}": (f"{name}.{v}", layout) for k, (v, layout) in layers.items()}


# Keys are regular expressions of modules, or the paths of arrays that belong to no module.
_GLIDE: _Table = {
    "text/token_embedding": ("token_embedding.weight", SAME),
    "text/positional_embedding": ("positional_embedding", SAME),
    "text/padding_embedding": ("padding_embedding", SAME),
    **_inside(r"text/block_(\d+)", r"transformer.resblocks.\1", _TEXT_LAYER),
    "text/final_ln": ("final_ln", SAME),
    "text/pool": ("transformer_proj", LINEAR),
    "keys_values/middle_0": ("middle_block.1.encoder_kv", CONV1D),
    r"keys_values/(\w+)_(\d+)": (r"\1_blocks.\2.1.encoder_kv", CONV1D),
    "unet/time_in": ("time_embed.0", LINEAR),
    "unet/time_out": ("time_embed.2", LINEAR),
    "unet/input_0": ("input_blocks.0.0", CONV),
    "unet/out_norm": ("out.0", SAME),
    "unet/out_conv": ("out.2", CONV),
    **_inside("unet/middle_0_res", "middle_block.0", _RES_BLOCK),
    **_inside("unet/middle_0_attn", "middle_block.1", _ATTENTION),
    **_inside("unet/middle_1_res", "middle_block.2", _RES_BLOCK),
    **_inside(r"unet/(\w+)_(\d+)_res", r"\1_blocks.\2.0", _RES_BLOCK),
    **_inside(r"unet/(\w+)_(\d+)_attn", r"\1_blocks.\2.1", _ATTENTION),
    r"unet/(\w+)_(\d+)_conv": (r"\1_blocks.\2.0.op", CONV),  # strided
    r"unet/(\w+)_(\d+)_up": (r"\1_blocks.\2.@up.conv", CONV),
    **_inside(r"unet/(\w+)_(\d+)_up", r"\1_blocks.\2.@up", _RES_BLOCK),
}
_CLIP: _Table = {
    "token_embedding": ("blocks.input.w_voc", SAME),
    "time_embedding": ("blocks.input.w_t", SAME),
    "positional_embedding": ("blocks.input.w_pos", SAME),
    "patches/kernel": ("blocks.input.patch_proj", CONV),
    "ln_in": ("blocks.input.ln", SAME),
    **_inside(r"(block_\d+)", r"blocks.\1", _CLIP_BLOCK),
    "ln_out": ("blocks.output.ln", SAME),
    "out": ("blocks.output.f", LINEAR),
}


def glide_entry(path: str) -> Entry:
    """The PyTorch name and layout of one parameter of a `GlideModel`."""
    return _entry(path, _GLIDE, {"kernel": "weight", "scale": "weight", "bias": "bias"})


def clip_entry(path: str) -> Entry:
    """The PyTorch name and layout of one parameter of a CLIP encoder (path below image or text)."""
    return _entry(path, _CLIP, {"kernel": "w", "scale": "g", "bias": "b"})


def _entry(path: str, table: _Table, suffixes: Mapping[str, str]) -> Entry:
    if path in table:
        return path, *table[path]
    module, _, leaf = path.rpartition("/")
    for pattern, (name, layout) in table.items():
        if match := re.fullmatch(pattern, module):
            layout = layout if leaf == "kernel" else SAME
            return path, f"{match.expand(name)}.{suffixes[leaf]}", layout
    raise KeyError(path)


def entries(
    shapes: Mapping[str, Any], entry: Callable[[str], Entry] = glide_entry
) -> Iterator[Entry]:
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
