"""Extractors by the names that the command line knows."""

import pathlib

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.evaluation.features import efficientnet, inception, openai_clip, pixels
from glide_jax.evaluation.features.extractor import Features

NAMES = ("efficientnet-lite0", "inception", openai_clip.NAME, pixels.NAME)
_FILES = {  # whose weights come in no package: the file, and the option that gives it
    "inception": ("pt_inception-2015-12-05-6726825d.pth", "--inception"),
    openai_clip.NAME: ("ViT-B-16.pt", "--clip-file"),
}


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
        inception_file: the user's, for inception.
        clip_file: the user's, for clip-vit-b16.

    Raises:
        InputError: there is no such name, or its weights are not to be had.
    """
    checks.one_of("features", name, NAMES)
    if name == pixels.NAME:
        return pixels.load()
    if name not in _FILES:
        return efficientnet.load(data_dir)
    weights = inception_file if name == "inception" else clip_file
    if not weights:
        file, option = _FILES[name]
        raise InputError(
            f"features is {name!r}, whose weights come in no package: give the file {file} "
            f"with {option}."
        )
    return inception.load(weights) if name == "inception" else openai_clip.load(weights).images
