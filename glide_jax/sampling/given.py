"""Pictures as people give them: files, arrays, Pillow's pictures and our own."""

import os
from typing import Any

import numpy as np
from PIL import Image

from glide_jax import checks, files, images
from glide_jax.errors import InputError
from glide_jax.sampling.picture import Picture

# A Pillow picture, a path, an array (h, w), (h, w, 3) or (h, w, 4), or a `Picture` of ours.
PictureLike = Any


def picture(name: str, value: PictureLike) -> Image.Image:
    """The Pillow picture of whatever is given as one.

    An array holds whole numbers from 0 to 255, fractions from 0 to 1 or booleans, whatever its
    dtype; what its numbers mean never depends on how large they happen to be.

    Args:
        name: The argument, for messages.
        value: What is given for it.

    Raises:
        InputError: It is no picture, or it is an array of another shape or range.
    """
    if isinstance(value, str | os.PathLike):
        return images.read(files.expanded(value))
    value = value.image if isinstance(value, Picture) else value
    if isinstance(value, Image.Image):
        if 0 in value.size:
            raise InputError(f"{name} has no pixels; it is {value.width} x {value.height}.")
        try:
            value.load()
        except Exception as error:  # a broken file leads Pillow to whatever comes
            raise InputError(f"{name} cannot be read: {str(error).rstrip('.')}.") from None
        return value
    if not hasattr(value, "__array__"):
        raise InputError(
            f"{name} is {checks.shown(value)}; it must be a Pillow picture, a path, an array or a "
            "Picture of glide_jax."
        )
    try:
        array = np.asarray(value)
    except Exception as error:  # such as a tensor on a device of another library
        raise InputError(f"{name} cannot be made an array: {str(error).rstrip('.')}.") from None
    return Image.fromarray(_pixels(name, array))


def _pixels(name: str, array: np.ndarray) -> np.ndarray:
    """uint8 (h, w), (h, w, 3) or (h, w, 4) of an array."""
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if 0 in array.shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"{name} is an array of shape {array.shape}; it must be (h, w), (h, w, 3) or (h, w, 4)."
        )
    if array.dtype == bool:
        return np.where(array, np.uint8(255), np.uint8(0))
    if array.dtype.kind not in "iufV":  # the last is bfloat16, which numpy does not know
        raise InputError(f"{name} is an array of {array.dtype}; it must be one of numbers.")
    if array.dtype.kind in "iu":
        values, top, right = array, 255, "whole numbers must be in 0 to 255"
    else:
        values, top = array.astype(np.float64), 1
        right = (
            "fractions must be in 0 to 1, so give (x + 1) / 2 of an x in -1 to 1, and x / 255 of "
            "one in 0 to 255"
        )
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= top):  # false for NaN, too
        raise InputError(f"{name} is an array of {array.dtype} from {low:g} to {high:g}; {right}.")
    return np.rint(values * (255 // top)).astype(np.uint8)
