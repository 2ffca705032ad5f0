"""Vector drawings as pixels: rendered with resvg on white, and made smaller by area."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glide_jax.data.example import Rejected
from glide_jax.extras import extra

SIDE = 256  # of every drawing; smaller sets are made from this one
_DPI = 96.0  # a length in mm or pt has no size without it, and is refused
_FINE = 512  # width at which a page is drawn before its content is cut out
_MARGIN = 8  # of white around the content of a page, of 256 pixels


def icon(svg: str, name: str) -> NDArray[np.uint8]:
    """An icon whose view box is its frame, as (256, 256, 3) on white, centred if not square.

    Raises:
        Rejected: "not drawable".
    """
    return on_white(_render(svg, name, SIDE, SIDE))


def page(svg: str, name: str) -> NDArray[np.uint8]:
    """What is drawn on a page, wherever that is, filling (256, 256, 3) but for a margin.

    Raises:
        Rejected: "not drawable" or "blank".
    """
    image = _render(svg, name, _FINE)
    box = image.getchannel("A").getbbox()
    wanted = SIDE - 2 * _MARGIN
    if box and max(box[2] - box[0], box[3] - box[1]) < wanted:  # a small thing on a large page
        larger = wanted / max(box[2] - box[0], box[3] - box[1])
        image = _render(svg, name, int(_FINE * min(larger, 4.0)))
        box = image.getchannel("A").getbbox()
    if not box:
        raise Rejected("blank", name)
    image = image.crop(box)
    scale = wanted / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new("RGBA", (SIDE, SIDE))
    square.paste(image, ((SIDE - width) // 2, (SIDE - height) // 2))
    return on_white(square)


def on_white(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) of a picture laid over white."""
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def reduce(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture whose shorter side is `side` pixels, by area; one that is smaller stays."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    if scale >= 1.0:
        return image
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _render(svg: str, name: str, width: int, height: int | None = None) -> Image.Image:
    resvg = extra("resvg_py")
    try:
        # The machine's own fonts would make the set depend on the machine.
        png = resvg.svg_to_bytes(
            svg_string=svg, width=width, height=height, dpi=_DPI, skip_system_fonts=True
        )
        return Image.open(io.BytesIO(png)).convert("RGBA")
    except (ValueError, OSError) as error:
        raise Rejected("not drawable", f"{name}: {error}") from None
