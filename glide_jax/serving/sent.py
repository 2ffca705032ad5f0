"""The checks of what clients and visitors send, which the protocol and the page share."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError

from glide_jax import images
from glide_jax.errors import InputError
from glide_jax.sampling.call import Call, parse
from glide_jax.sampling.glide import Glide


def picture(name: str, data: bytes, most: int) -> Image.Image:
    """A picture that was sent, with its pixels.

    Args:
        name: its name in messages.
        data: the encoded picture; it remembers no file.
        most: the pixels that it may have.

    Raises:
        InputError: it is none, or too large.
    """
    try:
        image = images.open_encoded(io.BytesIO(data))
        if image.width * image.height > most:
            raise InputError(
                f"{name} has {image.width} x {image.height} pixels; it must have at most {most} in "
                "all."
            )
        image.load()
        if image.mode in ("P", "PA") and image.palette is None:
            raise ValueError("its palette is missing")
        return image
    except InputError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise InputError(f"{name} is not a picture that this server reads.") from None
    except Exception:  # a broken file leads Pillow to whatever comes
        raise InputError(f"{name} is a damaged picture.") from None


def parameters(image: Image.Image) -> dict[str, Any] | None:
    """The parameters that a picture carries; None where there are none, or what is none."""
    try:
        found = images.parameters_of(image)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # an answer is made so
    except (ValueError, RecursionError):
        return None
    return found


def prompt(name: str, text: str, most: int) -> str:
    """A prompt within the limits.

    Args:
        name: its name in messages.
        text: the prompt.
        most: the characters that it may have.

    Raises:
        InputError: it is too long.
    """
    if len(text) > most:
        raise InputError(f"{name} has {len(text)} characters; it must have at most {most}.")
    return text


def calls(
    glide: Glide, prompts: str | Sequence[str], options: Mapping[str, Any], n: int
) -> tuple[Call, ...]:
    """A call for each of n pictures of a prompt, drawn by itself.

    Args:
        glide: the model, which plans the first to see whether it can.
        prompts: see `Glide.pictures`.
        options: those of the pictures.
        n: the number of pictures.

    Raises:
        InputError: an option is wrong, or the model cannot.
    """
    call = parse({"batch_size": 1, **options})
    glide.parameters(prompts, call)
    return tuple(parse({"first_index": k}, call) for k in range(n))
