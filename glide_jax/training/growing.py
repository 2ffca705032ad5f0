"""Grows a network's parameters to a larger network that computes the same, for fine-tuning."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from glide_jax.errors import InputError
from glide_jax.trees import path_of
from glide_jax.types import Params

PLANES = 3  # x_t's, which come first; the known pixels and their mask follow
NEW_PLANES = 4


def add_layers(params: Params, fresh: Params) -> Params:
    """Adds the layers that only the larger network has: attention, or the input of guidance.

    They add nothing while they are fresh (their last layer starts at zero), so fine-tuning starts
    where the network was.

    Args:
        params: the smaller network's.
        fresh: untrained ones of the larger network.

    Raises:
        InputError: `params` has layers that `fresh` has not.
    """
    if lost := params.keys() - fresh.keys():
        raise InputError(f"the larger network has no {min(lost)}.")
    grown = dict(fresh)
    for name, branch in params.items():
        inner = isinstance(branch, Mapping)
        grown[name] = add_layers(branch, fresh[name]) if inner else branch
    return grown


def widen_stem(params: Params, target_shapes: Any) -> Params:
    """Gives the layers that read the image zeros for the inpainting planes (GLIDE, section 2.4).

    The result ignores them, so fine-tuning starts where the network was. Those layers are the
    first convolution and, in networks on patches, the bypass; there each pixel of a patch brings
    its own planes, and the new ones lie inside each pixel's group, after x_t.

    Args:
        params: a network's without inpainting planes.
        target_shapes: the parameters' shapes of the same network with `inpaint=True`.

    Raises:
        InputError: the trees differ in anything but these planes.
    """
    given, structure = jax.tree_util.tree_flatten_with_path(params)
    wanted, target_structure = jax.tree.flatten(target_shapes)
    if structure != target_structure:
        raise InputError(
            "the model to fine-tune has other layers than the inpainting model; every field of "
            "its config but inpaint must be the same."
        )
    leaves = [
        p if p.shape == target.shape else _widened(path_of(path), np.asarray(p), target.shape)
        for (path, p), target in zip(given, wanted, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


def _widened(path: str, kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A convolution's kernel with zeros for the new planes of each pixel of a patch."""
    channels = kernel.shape[-2] if kernel.ndim == 4 else 0
    pixels = (shape[-2] - channels) // NEW_PLANES if len(shape) == 4 else 0
    planes = channels // pixels if pixels > 0 else 0
    fits = kernel.ndim == 4 and (*kernel.shape[:2], kernel.shape[3]) == (*shape[:2], shape[3])
    if not fits or planes < PLANES or shape[-2] != pixels * (planes + NEW_PLANES):
        raise InputError(
            f"parameter {path} has shape {kernel.shape}, and {tuple(shape)} in the inpainting "
            "model; every field of its config but inpaint must be the same."
        )
    by_pixel = kernel.reshape(*kernel.shape[:2], pixels, planes, kernel.shape[3])
    new = np.zeros((*kernel.shape[:2], pixels, NEW_PLANES, kernel.shape[3]), kernel.dtype)
    parts = [by_pixel[..., :PLANES, :], new, by_pixel[..., PLANES:, :]]
    return np.concatenate(parts, axis=3).reshape(shape)
