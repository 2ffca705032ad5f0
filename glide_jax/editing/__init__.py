"""What `Glide` does with pictures: paint in them, draw from them, enlarge them, draw them again."""

from glide_jax.editing.again import repeat
from glide_jax.editing.calls import (
    edit,
    inpaint,
    inpainting,
    interpolate,
    redrawing,
    upscale,
    upscaling,
    vary,
)

__all__ = [
    "edit",
    "inpaint",
    "inpainting",
    "interpolate",
    "redrawing",
    "repeat",
    "upscale",
    "upscaling",
    "vary",
]
