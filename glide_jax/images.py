"""Pictures as pixels and files: [-1, 1] to 8 bits, files with parameters and marks."""

import hashlib
import io
import json
import logging
import os
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from glide_jax import checks, provenance
from glide_jax.errors import InputError
from glide_jax.files import is_stream, replacing

_PASSING = ("path", "model_path", "batch_size")  # parameters that do not tell pictures apart
DEEP = "16 bits"  # marks the `info` of a picture in colour of which Pillow reads 8 bits a channel
_LONG_TEXT = 4096  # letters; longer ones are compressed in a PNG
METADATA = "glide_jax"  # the PNG text chunk that holds the parameters, as JSON
A1111 = "parameters"  # the one that holds the text of `sampling.a1111`, where that is wanted

# The formats are named, since some of the others that Pillow opens run programs (EPS) or have no
# single picture (PDF, MPEG). A format that this Pillow lacks is passed over by it.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "MPO")

# Pillow refuses a PNG whose texts unpack to more than 1 MB; those of editors (XMP, a workflow) do.
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what it logs
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 1 << 25)
PngImagePlugin.MAX_TEXT_MEMORY = max(PngImagePlugin.MAX_TEXT_MEMORY, 1 << 26)


def open_encoded(file: str | os.PathLike | BinaryIO) -> Image.Image:
    """Opens an encoded picture in one of `FORMATS`; its pixels are read when they are used.

    Raises:
        UnidentifiedImageError: The file is in none of the formats.
        OSError: The file cannot be read.
    """
    if isinstance(file, str | os.PathLike) and is_stream(file):
        raise OSError("it is no file")
    Image.init()
    return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])


def to_uint8(x: np.ndarray) -> np.ndarray:
    """[-1, 1] to 0 ... 255, rounded half to even and clamped, as the reference shows pictures."""
    return np.clip(np.round((np.asarray(x, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def from_uint8(pixels: np.ndarray) -> np.ndarray:
    """0 ... 255 to float32 in [-1, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(127.5) - np.float32(1.0)


def read(path: str | os.PathLike) -> Image.Image:
    """Reads a picture from a file.

    Raises:
        InputError: There is no such file, or it is not a picture.
    """
    try:
        with open_encoded(path) as image:
            deep = ";16" in str(getattr(image, "tile", "")) and not image.mode.startswith("I")
            image.load()
            image.info.update({DEEP: True} if deep else {})
            return image
    except FileNotFoundError:
        raise InputError(f"picture {checks.shown(str(path), 200)} does not exist.") from None
    except UnidentifiedImageError:
        raise InputError(
            f"{checks.shown(str(path), 200)} is not a picture that Pillow knows."
        ) from None
    except Image.DecompressionBombError as error:
        raise InputError(f"picture {checks.shown(str(path), 200)} is too large: {error}") from None
    except Exception as error:  # a broken file leads Pillow to whatever comes
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"picture {checks.shown(str(path), 200)} cannot be read: {why.rstrip('.')}."
        ) from None


def write_png(
    path: pathlib.Path,
    image: Image.Image,
    parameters: Mapping[str, Any],
    new: bool = False,
    source: str | None = None,
) -> None:
    """A PNG file that carries its parameters and a mark, written whole or not at all.

    Args:
        path: the file, which is replaced if it is there.
        image: the picture.
        parameters: JSON-able.
        new: whether the file must not be there.
        source: where the picture comes from, see `save_png`.

    Raises:
        FileExistsError: it is there but must not be.
    """
    with replacing(path, new=new) as temporary:
        save_png(temporary, image, parameters, source)


def save_png(
    target: pathlib.Path | BinaryIO,
    image: Image.Image,
    parameters: Mapping[str, Any] | None,
    source: str | None = None,
) -> None:
    """The bytes of a PNG that carries its parameters and a mark, into a file or a stream.

    Args:
        target: the file or stream.
        image: the picture; texts, EXIF record and colour profile in its `info` are written, too.
        parameters: JSON-able; None writes none.
        source: one of `provenance`; by default it follows from the parameters.
    """
    source = provenance.source_of(parameters) if source is None else source
    image = provenance.marked(image, source, parameters)
    info, carried = PngImagePlugin.PngInfo(), texts(image.info)
    if parameters is not None:
        info.add_itxt(METADATA, json.dumps(parameters, ensure_ascii=False, sort_keys=True))
    if source:
        carried[provenance.XMP] = provenance.packet(
            source, parameters, pixels_hash(image), carried.get(provenance.XMP)
        )
    for name, text in carried.items():
        if name.startswith("XML:"):
            info.add_itxt(name, text)  # readers of XMP need not know compression
        else:
            info.add_text(name, text, zip=len(text) > _LONG_TEXT)
    how: dict[str, Any] = dict(format="PNG", pnginfo=info, exif=image.info.get("exif"))
    if not provenance.signs():
        image.save(target, **how)
        return
    image.save(buffer := io.BytesIO(), **how)
    data = provenance.signed(buffer.getvalue(), "image/png", source, parameters)
    if isinstance(target, pathlib.Path):
        target.write_bytes(data)
    else:
        target.write(data)


def lossy(
    image: Image.Image, kind: str, quality: int, source: str, parameters: Mapping[str, Any] | None
) -> bytes:
    """The bytes of a JPEG or WebP that carries a mark, and none of the picture's own texts.

    Args:
        image: the picture; a JPEG shows white where it is transparent.
        kind: "jpeg" or "webp".
        quality: 0 to 100.
        source: one of `provenance`.
        parameters: those of a finished picture, which name its model.
    """
    image = flat(image, "RGB", "white") if kind == "jpeg" else image
    image = provenance.marked(image, source, parameters)
    mark = provenance.packet(source, parameters, provenance.UNKNOWN_PIXELS)
    buffer = io.BytesIO()
    image.save(buffer, format=kind.upper(), quality=quality, xmp=mark.encode())
    with Image.open(buffer) as decoded:  # its pixels are not quite the picture's
        pixels = pixels_hash(decoded)
    data = buffer.getvalue().replace(provenance.UNKNOWN_PIXELS.encode(), pixels.encode(), 1)
    return provenance.signed(data, f"image/{kind}", source, parameters)


def read_parameters(path: str | os.PathLike) -> dict[str, Any] | None:
    """Reads the parameters that a picture carries; None for any other file, or none at all."""
    try:
        with open_encoded(path) as image:
            return parameters_of(image)
    except Exception:  # a broken file leads Pillow to whatever comes
        return None


def found(path: pathlib.Path, parameters: Mapping[str, Any]) -> str:
    """Finds out what is at the place of a picture with these parameters.

    Returns:
        "nothing"; "same", if it is that picture, whole; "broken", if it is what is left of a
        picture that was written here; or "other", which must stay.
    """
    if not os.path.lexists(path):
        return "nothing"
    if not path.is_file():
        return "other"
    try:
        with open_encoded(path) as image:
            same = drawn_alike(parameters_of(image), parameters)
            if same:
                image.load()
            return "same" if same else "other"
    except PermissionError:
        return "other"
    except Exception:  # a broken file leads Pillow to whatever comes
        with open(path, "rb") as file:
            start = file.read(1 << 16)
        return "broken" if not start or f"{METADATA}\0".encode() in start else "other"


def parameters_of(image: Image.Image) -> dict[str, Any] | None:
    """The parameters that an opened picture carries; None if there are none.

    Raises:
        ValueError: They are not JSON.
    """
    parameters = json.loads(image.info.get(METADATA, "null"))
    return parameters if isinstance(parameters, dict) else None


def is_ours(path: str | os.PathLike) -> bool:
    """Whether a file is a picture that this package wrote, whatever else may be wrong with it."""
    try:
        with open_encoded(path) as image:
            return METADATA in image.info
    except Exception:  # a broken file leads Pillow to whatever comes
        return False


def drawn_alike(a: Any, b: Any) -> bool:
    """Whether two pictures' parameters agree, but for places of files and the size of a batch."""
    if not (isinstance(a, Mapping) and isinstance(b, Mapping)):
        return a == b
    names = (a.keys() | b.keys()) - {*_PASSING}
    if a.get("sampler") == b.get("sampler") != "ddim":
        names -= {"eta"}  # older versions recorded it of every sampler
    return all(name in a and name in b and drawn_alike(a[name], b[name]) for name in names)


def fingerprint(parameters: Mapping[str, Any], but: Sequence[str] = ()) -> str:
    """A SHA-256 of what `drawn_alike` compares, without the entries that `but` names."""

    def kept(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: kept(part) for name, part in value.items() if name not in _PASSING}

    text = json.dumps(kept({k: v for k, v in parameters.items() if k not in but}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def pixels_hash(image: Image.Image) -> str:
    """A SHA-256 of a picture's size, mode and pixels."""
    head = f"{image.width}x{image.height} {image.mode} "
    return hashlib.sha256(head.encode() + image.tobytes()).hexdigest()


def texts(info: Mapping[Any, Any]) -> dict[str, Any]:
    """The texts of a PNG's `info`, by keyword, but for the one that is ours."""
    keyword = lambda name: isinstance(name, str) and name.isascii() and 0 < len(name) < 80
    return {
        name: str(text)
        for name, text in info.items()
        if keyword(name) and isinstance(text, str) and name not in (METADATA, "compression")
    }


def turned(image: Image.Image) -> Image.Image:
    """A copy of a picture that stands upright, as the camera held it, by its EXIF record."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken record leads Pillow to whatever comes
        warnings.warn(
            "a picture's EXIF record cannot be read; it is left out, and the picture not turned.",
            stacklevel=2,
        )
        image = image.copy()
        image.info.pop("exif", None)
        return image


def flat(image: Image.Image, mode: str, ground: str) -> Image.Image:
    """Converts a picture to an 8-bit mode; 16 bits are scaled, and transparency is filled.

    Args:
        image: A picture in any mode that Pillow has.
        mode: The mode of the result, such as "RGB" or "L".
        ground: The colour that shows through transparent pixels.

    Raises:
        InputError: The pixels are fractions, which have no agreed range.
    """
    image = eight_bits(image)
    if image.has_transparency_data:
        image = converted(image, "RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, ground), image)
    return converted(image, mode)


def eight_bits(image: Image.Image) -> Image.Image:
    """Scales grey of 16 bits to the nearest of 8, which Pillow would clip; others stay.

    Raises:
        InputError: The pixels are fractions, which have no agreed range.
    """
    if image.mode == "F":
        raise _unusable(image, "its pixels are fractions")
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image, np.int64).clip(0, 65535)
    return Image.fromarray(((levels + 128) // 257).astype(np.uint8))


def converted(image: Image.Image, mode: str) -> Image.Image:
    """Pillow's conversion to a mode; a picture in that mode is itself.

    Raises:
        InputError: Pillow has none from the picture's mode.
    """
    try:
        return image if image.mode == mode else image.convert(mode)
    except ValueError as error:
        raise _unusable(image, str(error)) from None


def _unusable(image: Image.Image, why: str) -> InputError:
    return InputError(f"a picture of mode {image.mode!r} cannot be used ({why}); save it as RGB.")


def shrunk(plane: np.ndarray, factor: int, take: Callable[..., np.ndarray] = np.mean) -> np.ndarray:
    """Shrinks a plane to a smaller stage's size, block by block.

    Args:
        plane: Shape (h, w, c); `factor` divides h and w.
        factor: The side of a block in pixels.
        take: The reduction over a block, called with `axis`.

    Returns:
        Shape (h / factor, w / factor, c).
    """
    height, width, channels = plane.shape
    blocks = plane.reshape(height // factor, factor, width // factor, factor, channels)
    return take(blocks, axis=(1, 3))
