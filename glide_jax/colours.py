"""Colour profiles (ICC): sRGB is what networks are shown, and a picture keeps its own colours."""

import functools
import io
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms

from glide_jax import images

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # by the colour space of a profile


class Profile(NamedTuple):
    """A picture's profile, opened; a transform is None where nothing changes, or where none is."""

    mode: str  # the mode of the pixels that it describes: "RGB", "L" or "CMYK"
    to_srgb: ImageCms.ImageCmsTransform | None
    from_srgb: ImageCms.ImageCmsTransform | None

    @property
    def stays(self) -> bool:
        """Whether pixels of 8-bit RGB can be in this profile."""
        return self.mode == "RGB" and (self.to_srgb is None or self.from_srgb is not None)


def profile_of(info: Mapping[Any, Any], mode: str) -> Profile | None:
    """The profile in a picture's `info`; None where there is none, or one that is of no use.

    Args:
        info: Pillow's `Image.info`.
        mode: the mode of the picture's pixels, without transparency.
    """
    data = info.get("icc_profile")
    if not data:
        return None
    try:
        return _opened(bytes(data), "L" if mode == "1" else mode)
    except Exception as error:  # littleCMS and Pillow raise whatever comes
        why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        warnings.warn(
            f"a picture's colour profile cannot be used ({why}); its colours are taken as sRGB.",
            stacklevel=2,
        )
        return None


def to_srgb(image: Image.Image, profile: Profile | None) -> Image.Image:
    """A picture without transparency as RGB, its colours converted to sRGB by its profile."""
    if profile is None or profile.to_srgb is None:
        return images.converted(image, "RGB")
    out = ImageCms.applyTransform(image.convert(profile.mode), profile.to_srgb)
    out.info.pop("icc_profile", None)
    return out


def from_srgb(image: Image.Image, profile: Profile | None) -> Image.Image:
    """An RGB picture in sRGB with its colours as a profile has them."""
    if profile is None or profile.from_srgb is None:
        return image
    return ImageCms.applyTransform(image, profile.from_srgb)


@functools.lru_cache(maxsize=32)  # most pictures of a set have the same few
def _opened(data: bytes, mode: str) -> Profile:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    space = profile.profile.xcolor_space.strip()
    own = _MODES.get(space)
    if own is None or (own != "RGB" and own != mode) or (own == "RGB" and mode == "CMYK"):
        raise ValueError(f"it is for {space}, and the picture is {mode}")
    there = ImageCms.buildTransform(profile, _SRGB, own, "RGB")
    if own != "CMYK" and _changes_nothing(own, there):
        return Profile(own, None, None)
    try:
        back = ImageCms.buildTransform(_SRGB, profile, "RGB", "RGB") if own == "RGB" else None
    except ImageCms.PyCMSError:  # a scanner's, which goes one way
        back = None
    return Profile(own, there, back)


def _changes_nothing(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a profile is sRGB but for rounding, as most are; the pixels then stay as they are."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        shown = Image.fromarray(levels[None])
    else:
        shown = Image.fromarray(np.stack(np.meshgrid(*[levels] * 3), -1).reshape(1, -1, 3))
    before = np.asarray(shown.convert("RGB"), np.int16)
    after = np.asarray(ImageCms.applyTransform(shown, transform), np.int16)
    return bool(np.abs(after - before).max() <= 1)
