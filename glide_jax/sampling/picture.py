"""A picture as a call gives it, with all that is needed to draw it again."""

import dataclasses
import io
import os
from typing import Any

import numpy as np
from PIL import Image as PILImage

from glide_jax import checks, files, images, provenance
from glide_jax.errors import InputError
from glide_jax.sampling import a1111 as a1111_text


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

    def save(
        self, path: str | os.PathLike, *, a1111: bool = False, watermark: bool = False
    ) -> None:
        """Writes a PNG that carries the parameters, whole or not at all; it may replace a file.

        `glide-jax repeat` draws the picture again from it. Other formats have no place for the
        parameters: `picture.image.save("star.jpg")` writes those.

        Args:
            path: the file, whose name ends in .png.
            a1111: whether the text chunk of the AUTOMATIC1111 web UI is written, too.
            watermark: whether the file's pixels have an invisible mark; `image` keeps none.

        Raises:
            InputError: the name does not end in .png, the file cannot be written, or `a1111` is
                true and the prompt is not recorded.
        """
        path = files.expanded(path)
        shown = checks.shown(str(path), 200)
        if path.suffix.lower() != ".png":
            raise InputError(
                f"{shown} does not end in .png, and only a PNG carries the parameters; "
                "picture.image.save() writes other formats without them."
            )
        if path.is_dir():
            raise InputError(f"{shown} is a folder; give a file's name.")
        image = a1111_text.marked(self.image, self.parameters) if a1111 else self.image
        if watermark:
            image = provenance.with_mark(image, self.parameters)
        try:
            images.write_png(path, image, self.parameters)
        except OSError as error:
            raise InputError(f"{shown} cannot be written: {error.strerror}.") from None

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
