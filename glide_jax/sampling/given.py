"""Pictures as people give them: from a file, an array or a picture, with their own colours."""

import os
import pathlib
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from glide_jax import checks, colours, images
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
        return images.read(pathlib.Path(value))
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
    whole = array.dtype.kind in "iu"
    array = array if whole else array.astype(np.float64)
    low, high, top = array.min(), array.max(), 255 if whole else 1
    if not (low >= 0 and high <= top):  # false for NaN, too
        raise InputError(
            f"{name} is an array of {array.dtype} from {low:g} to {high:g}; whole numbers must be "
            "in 0 to 255 and fractions in 0 to 1, so give (x + 1) / 2 of an x in -1 to 1."
        )
    return array.astype(np.uint8) if whole else np.rint(array * 255).astype(np.uint8)


class Own(NamedTuple):
    """A picture as its file has it, upright."""

    # In 8-bit RGB or, where some of it is transparent, RGBA. `info` holds nothing but its colour
    # profile, where its pixels are in one, its EXIF record and its texts.
    image: Image.Image
    changes: list[str]  # what has changed, in words: PNG has no inks, say

    @property
    def profile(self) -> colours.Profile | None:
        """The profile that its colours are in; None where they are in sRGB."""
        return colours.profile_of(self.image.info, "RGB")

    @property
    def over_white(self) -> Image.Image:
        """It in RGB in its own colours; transparency shows white."""
        if self.image.mode == "RGB":
            return self.image
        ground = Image.new("RGBA", self.image.size, "white")
        return Image.alpha_composite(ground, self.image).convert("RGB")

    @property
    def upright(self) -> Image.Image:
        """It as networks see it: in 8-bit sRGB; transparency shows white."""
        return colours.to_srgb(self.over_white, self.profile)


def own(image: Image.Image) -> Own:
    """A picture with its own colours; those in a profile of grey or of inks become sRGB.

    Raises:
        InputError: The pixels are fractions, which have no agreed range.
    """
    image = ImageOps.exif_transpose(image)
    changes = ["it has 16 bits a channel, of which 8 are left"] * image.mode.startswith("I")
    opaque, alpha = _parts(images.eight_bits(image))
    profile, info = colours.profile_of(image.info, opaque.mode), _carried(image.info)
    if profile is not None and profile.stays:
        info["icc_profile"] = image.info["icc_profile"]
        out = images.converted(opaque, "RGB")
    else:
        out = colours.to_srgb(opaque, profile)
        if opaque.mode == "CMYK" or (profile is not None and profile.to_srgb is not None):
            changes.append(f"its {opaque.mode} colours become sRGB")
    if alpha is not None and alpha.getextrema()[0] < 255:
        out.putalpha(alpha)
    out.info = info
    return Own(out, changes)


def _parts(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours of an 8-bit picture, and its alpha if it has one."""
    if not image.has_transparency_data:
        return image, None
    layer = images.converted(image, "RGBA")
    grey = image.mode in ("1", "L", "LA")
    return image.convert("L") if grey else layer.convert("RGB"), layer.getchannel("A")


def _carried(info: dict[Any, Any]) -> dict[Any, Any]:
    """An opened picture's `info` as far as a PNG can hold it, but for the colour profile."""
    out: dict[Any, Any] = dict(images.texts(info))
    for name, keyword in (("xmp", "XML:com.adobe.xmp"), ("comment", "Comment")):
        if isinstance(text := info.get(name), bytes):
            out.setdefault(keyword, text.decode("utf-8", "replace"))
    if isinstance(info.get("exif"), bytes):
        out["exif"] = info["exif"]
    return out
