"""A picture as a call gives it, with all that is needed to draw it again."""

import dataclasses
import io
from typing import Any

import numpy as np
from PIL import Image as PILImage

from glide_jax import images


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture and all that is needed to draw it again."""

    image: PILImage.Image  # the last stage's
    small: PILImage.Image  # the base's
    parameters: dict[str, Any]  # JSON-able

    @property
    def array(self) -> np.ndarray:
        """uint8 (h, w, 3), or (h, w, 4) where some of it is transparent."""
        return np.asarray(self.image)

    def __repr__(self) -> str:
        """Size, prompt and seed, for a notebook's or a shell's answer."""
        width, height = self.image.size
        prompt, seed = (self.parameters.get(name) for name in ("prompt", "seed"))
        return f"<Picture {width} x {height} of {prompt!r}, seed {seed}>"

    def _repr_png_(self) -> bytes:
        """A notebook shows this: the PNG file with the parameters in it."""
        buffer = io.BytesIO()
        images.save_png(buffer, self.image, self.parameters)
        return buffer.getvalue()
