"""Vector drawings as pixels: rendered with resvg on white, and made smaller by area."""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glide_jax import checks
from glide_jax.data.example import Example, Rejected
from glide_jax.extras import extra

T = TypeVar("T")

SIDE = 256  # every drawing's side in pixels; smaller sets are made from this one
_DPI = 96.0  # a length in mm or pt has no size without it, and is refused
_FINE = 512  # width at which a page is drawn before its content is cut out
_MARGIN = 8  # pixels of white around the content of a page, out of 256
_DEEPEST = 100  # elements within each other; resvg ends the process at about 200
_URL = re.compile(r"url\(\s*['\"]?#([^'\")]*)")
_DRAWN = {"use", "image", "feImage", "pattern", "mask", "clipPath", "filter", "tref"}
# Pictures within the file, by the first letters of PNG, JPEG, GIF and WebP in base64; a drawing
# within the drawing could hide what is refused here.
_RASTER = re.compile(r"data:[\w/+.;=-]*;base64,\s*(iVBOR|/9j/|R0lGOD|UklGR)")
_BLANK = 16  # a picture whose values span less shows nothing


@dataclass(frozen=True)
class Drawn(Generic[T]):
    """A `Source` whose pictures are drawn when they are asked for, each from its item."""

    items: Sequence[T]
    draw: Callable[[T], Example]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Example:
        return self.draw(self.items[index])


def icon(svg: str, name: str) -> NDArray[np.uint8]:
    """Draws an icon whose view box is its frame as (256, 256, 3) on white, centred if oblong.

    Raises:
        Rejected: "not drawable".
    """
    return on_white(_render(svg, name, SIDE, SIDE))


def page(svg: str, name: str) -> NDArray[np.uint8]:
    """Cuts the content out of a page and draws it as (256, 256, 3), filled but for a margin.

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
    """Returns the pixels (h, w, 3) of a picture laid over white."""
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def check_visible(image: NDArray[np.uint8], name: str) -> None:
    """Refuses a picture of which all has nearly one value.

    Raises:
        Rejected: It is blank.
    """
    if np.ptp(image) < _BLANK:
        raise Rejected("blank", name)


def reduce(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrinks a picture by area to a shorter side of `side` pixels; a smaller one stays."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    if scale >= 1.0:
        return image
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def check_safe(svg: str, name: str) -> None:
    """Refuses a drawing that would overflow the renderer's stack, or that takes in other files.

    Raises:
        Rejected: "not drawable".
    """
    try:
        root = ElementTree.fromstring(svg)
    except (ElementTree.ParseError, ValueError) as error:
        raise Rejected("not drawable", f"{name}: {error}") from None
    by_id = {element.get("id", ""): element for element in root.iter()}
    heights: dict[ElementTree.Element, int] = {}

    def height(element: ElementTree.Element, level: int) -> int:
        if level > _DEEPEST:
            raise Rejected("not drawable", f"{name}: nested over {_DEEPEST} deep, or in itself")
        if element not in heights:
            below = [*element, *(by_id[one] for one in _references(element, name) if one in by_id)]
            heights[element] = 1 + max((height(one, level + 1) for one in below), default=0)
        return heights[element]

    if height(root, 1) > _DEEPEST:
        raise Rejected("not drawable", f"{name}: nested over {_DEEPEST} deep")


def _references(element: ElementTree.Element, name: str) -> list[str]:
    """Returns the ids of what an element draws besides its children.

    Raises:
        Rejected: it draws a file.
    """
    tag = element.tag.rpartition("}")[2]
    found = [one for value in element.attrib.values() for one in _URL.findall(value)]
    if tag == "style":  # its rules may be any element's
        found += _URL.findall(element.text or "")
    for attribute, value in element.attrib.items():
        if attribute.rpartition("}")[2] != "href" or tag not in _DRAWN:
            continue
        if value.startswith("#"):
            found.append(value[1:])
        elif value and not _RASTER.match(value):
            raise Rejected("not drawable", f"{name}: it takes in {checks.shown(value, 40)}")
    return found


def _render(svg: str, name: str, width: int, height: int | None = None) -> Image.Image:
    resvg = extra("resvg_py")
    check_safe(svg, name)
    try:
        # The machine's own fonts would make the set depend on the machine.
        png = resvg.svg_to_bytes(
            svg_string=svg, width=width, height=height, dpi=_DPI, skip_system_fonts=True
        )
        return Image.open(io.BytesIO(png)).convert("RGBA")
    except (ValueError, OSError) as error:
        raise Rejected("not drawable", f"{name}: {error}") from None
