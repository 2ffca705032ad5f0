"""Pictures in their own colours, and in sRGB, which is what networks are shown."""

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


class Own(NamedTuple):
    """A picture as its file has it, upright."""

    # In 8-bit RGB or, where some of it is transparent, RGBA. `info` holds nothing but its colour
    # profile, where its pixels are in one, its EXIF record and its texts.
    image: Image.Image
    changes: list[str]  # what has changed, in words: PNG has no inks, say

    @property
    def profile(self) -> Profile | None:
        """The profile that its colours are in; None where they are in sRGB."""
        return profile_of(self.image.info, "RGB")

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
        return to_srgb(self.over_white, self.profile)


def own(image: Image.Image) -> Own:
    """A picture with its own colours; those in a profile of grey or of inks become sRGB.

    Raises:
        InputError: The pixels are fractions, which have no agreed range.
    """
    image = images.turned(image)
    deep = image.mode.startswith("I") or images.DEEP in image.info
    changes = ["it has 16 bits a channel, of which 8 are left"] * deep
    opaque, alpha = _parts(images.eight_bits(image))
    profile, info = profile_of(image.info, opaque.mode), _carried(image.info)
    if profile is not None and profile.stays:
        info["icc_profile"] = image.info["icc_profile"]
        out = images.converted(opaque, "RGB")
    else:
        out = to_srgb(opaque, profile)
        if opaque.mode == "CMYK" or (profile is not None and profile.to_srgb is not None):
            changes.append(f"its {opaque.mode} colours become sRGB")
    if alpha is not None and np.asarray(alpha).min() < 255:
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
    if "Version: glide_jax" in out.get(images.A1111, ""):
        del out[images.A1111]  # it describes the picture that went in, as its parameters do
    for name, keyword in (("xmp", "XML:com.adobe.xmp"), ("comment", "Comment")):
        if isinstance(text := info.get(name), bytes):
            out.setdefault(keyword, text.decode("utf-8", "replace"))
    if isinstance(info.get("exif"), bytes):
        out["exif"] = info["exif"]
    return out


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
    out = profile.to_srgb.apply(images.converted(image, profile.mode))
    out.info.pop("icc_profile", None)
    return out


def from_srgb(image: Image.Image, profile: Profile | None) -> Image.Image:
    """An RGB picture in sRGB with its colours as a profile has them."""
    if profile is None or profile.from_srgb is None:
        return image
    return profile.from_srgb.apply(image)


@functools.lru_cache(maxsize=32)  # most pictures of a set have the same few
def _opened(data: bytes, mode: str) -> Profile:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    space = profile.profile.xcolor_space.strip()  # pyright: ignore[reportAttributeAccessIssue]
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
    after = np.asarray(transform.apply(shown), np.int16)
    return bool(np.abs(after - before).max() <= 1)
