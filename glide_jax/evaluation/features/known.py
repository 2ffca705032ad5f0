"""Extractors by their names on the command line."""

import pathlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt8

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.evaluation.features import efficientnet, inception, mobilenet, openai_clip
from glide_jax.evaluation.features.extractor import Features
from glide_jax.types import Params

NAMES = (efficientnet.NAME, mobilenet.NAME, "inception", openai_clip.NAME, "pixels")
PACKAGED = (efficientnet.NAME, mobilenet.NAME)  # their weights come in packages
_FILES = {  # extractors whose weights come in no package: the file, and the option that gives it
    "inception": ("pt_inception-2015-12-05-6726825d.pth", "--inception"),
    openai_clip.NAME: ("ViT-B-16.pt", "--clip-file"),
}
_GRID = 8


def open_features(
    name: str,
    data_dir: pathlib.Path,
    inception_file: str | None = None,
    clip_file: str | None = None,
) -> Features:
    """An extractor by its name.

    Args:
        name: one of NAMES.
        data_dir: where packages are kept.
        inception_file: the user's file for inception.
        clip_file: the user's file for clip-vit-b16.

    Raises:
        InputError: there is no such name, or its weights are not to be had.
    """
    checks.one_of("features", name, NAMES)
    if name == "pixels":
        return pixels()
    if name == efficientnet.NAME:
        return efficientnet.load_efficientnet(data_dir)
    if name == mobilenet.NAME:
        return mobilenet.load_mobilenet(data_dir)
    file = inception_file if name == "inception" else clip_file
    if not file:
        wanted, option = _FILES[name]
        raise InputError(
            f"features is {name!r}, whose weights come in no package: give the file {wanted} "
            f"with {option}."
        )
    if name == "inception":
        return inception.load_inception(file)
    return openai_clip.load_openai_clip(file).images


def pixels() -> Features:
    """Red, green and blue of 8 x 8 places: 192 numbers in [0, 1], from no network.

    Enough for pictures of a few flat shapes; of photographs it sees the colours only.
    """
    return Features(f"pixels-{_GRID}", "none", _GRID, {}, _reduced)


def _reduced(params: Params, images: UInt8[Array, "b h w 3"]):
    del params
    x = jnp.asarray(images, jnp.float32) / 255
    x = jax.image.resize(x, (len(x), _GRID, _GRID, 3), "linear")  # antialiased
    return x.reshape(len(x), -1), None, None
