"""A picture as the page's editor shows it, and what was painted on it.

The editor is given a copy to look at, and only its strokes come back: pixels of the picture itself
stay here as they were sent.
"""

import pathlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from glide_jax import colours
from glide_jax.sampling import canvas
from glide_jax.serving import sent

SIDE = 512  # pixels of the longer side in the editor, about, where a picture is smaller
_MOST = 1024  # and where it is larger
BLACK, WHITE = np.uint8(0), np.uint8(255)
PAINT = (255, 0, 170)  # the colour of masks, rare in pictures
FILES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
_STEP = 8  # alpha that comes and goes on the way through a browser


def read_picture(path: str, pixels: int) -> Image.Image:
    """A picture that was sent to the page.

    Args:
        path: where the upload lies; the picture does not remember it.
        pixels: the most that it may have.

    Raises:
        InputError: it is none, or too large.
    """
    return sent.picture("the picture", pathlib.Path(path).read_bytes(), pixels)


class Easel:
    """A picture and its mask.

    Attributes:
        picture: the one that was sent, untouched.
        size: its width and height once it is upright.
    """

    def __init__(self, picture: Image.Image):
        self.picture, own = picture, colours.own(picture)
        self.size, self._look = own.image.size, own.upright
        # Pixels of a small picture are shown as squares, so that a brush can meet each.
        longer = max(self.size)
        times = max(1, SIDE // longer) if longer <= _MOST else _MOST / longer
        width, height = (max(1, round(side * times)) for side in self.size)
        self._shown_size = width, height
        self._mask = Image.new("L", self.size)
        self._sent = np.zeros(self._shown_size[::-1], np.uint8)

    def value(self, mask: Image.Image | None = None) -> dict[str, Any]:
        """The value for the editor.

        Args:
            mask: white where strokes are put; those that are there go.
        """
        self._mask = Image.new("L", self.size) if mask is None else mask
        alpha = self._resized(self._mask, self._shown_size)
        self._sent = np.asarray(alpha)
        layers = []
        if mask is not None and self._sent.any():
            layer = Image.new("RGBA", self._shown_size, PAINT)
            layer.putalpha(alpha)
            layers = [layer]
        look = self._resized(self._look, self._shown_size)
        return {"background": look, "layers": layers, "composite": None}

    def mask(self, value: dict[str, Any] | None) -> Image.Image:
        """The strokes of the editor as a mask of the picture's size, white where there are some.

        Where nothing was painted since `value` it is the mask that was given there, exactly.

        Args:
            value: the editor's.
        """
        alpha = np.asarray(self._layer(value).getchannel("A"))
        changed = np.abs(alpha.astype(int) - self._sent) > _STEP
        if not changed.any():
            return self._mask
        plane = lambda where: self._resized(Image.fromarray(np.where(where, WHITE, BLACK)))
        painted = plane(alpha >= 128).point([0] * 128 + [255] * 128)
        somewhere = plane(changed).point([0] + [255] * 255)
        return Image.composite(painted, self._mask, somewhere)

    def sketch(self, value: dict[str, Any] | None) -> Image.Image:
        """The picture in sRGB with the editor's strokes in their colours upon it."""
        layer = self._layer(value)
        if not layer.getchannel("A").getbbox():
            return self._look
        premultiplied = layer.convert("RGBa")  # else the colour of what is clear would bleed
        layer = self._resized(premultiplied).convert("RGBA")
        return Image.alpha_composite(self._look.convert("RGBA"), layer).convert("RGB")

    def read(self, mask: Image.Image) -> Image.Image:
        """Another picture as a mask of this one.

        Raises:
            InputError: it is not clear what is white there, or the sizes differ.
        """
        alpha = canvas.region(self.picture, mask, 1).alpha
        return Image.fromarray(np.rint(alpha * 255).astype(np.uint8))

    def _layer(self, value: dict[str, Any] | None) -> Image.Image:
        """All layers of the editor as one of the size that was shown."""
        out = Image.new("RGBA", self._shown_size)
        for layer in (value or {}).get("layers") or ():
            if layer is not None:
                layer = layer.convert("RGBA")
                if layer.size != self._shown_size:
                    layer = layer.resize(self._shown_size, Image.Resampling.NEAREST)
                out.alpha_composite(layer)
        return out

    def _resized(self, image: Image.Image, size: tuple[int, int] | None = None) -> Image.Image:
        size = size or self.size
        if image.size == size:
            return image
        larger = size[0] > image.width
        small = min(self.size[0], self._shown_size[0]) == self.size[0]
        how = Image.Resampling.NEAREST if larger and small else Image.Resampling.BOX
        return image.resize(size, how)


def inverted(mask: Image.Image) -> Image.Image:
    """White where it was black."""
    return ImageChops.invert(mask)


def softened(mask: Image.Image, pixels: int) -> Image.Image:
    """A mask whose edge fades outwards; what was white stays so.

    Args:
        mask: white where to paint.
        pixels: how far; 0 changes nothing.
    """
    if pixels <= 0:
        return mask
    half = max(1, pixels // 2)
    wide = Image.fromarray(np.where(_grown(np.asarray(mask) >= 128, half), WHITE, BLACK))
    return ImageChops.lighter(mask, wide.filter(ImageFilter.BoxBlur(half)))


def _grown(plane: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """A plane that is true up to some pixels farther; its time does not depend on how many."""
    for axis in (0, 1):
        pad = [(pixels + 1, pixels) if axis == k else (0, 0) for k in (0, 1)]
        total = np.cumsum(np.pad(plane, pad), axis, dtype=np.int32)
        n = plane.shape[axis]
        ahead = np.take(total, range(2 * pixels + 1, 2 * pixels + 1 + n), axis)
        plane = ahead > np.take(total, range(n), axis)
    return plane
