"""Extractors by the names that the command line knows."""

import pathlib

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.evaluation.features import efficientnet, inception
from glide_jax.evaluation.features.extractor import Features

NAMES = ("efficientnet-lite0", "inception")


def open_features(name: str, data_dir: pathlib.Path, weights: str | None = None) -> Features:
    """An extractor by its name.

    Args:
        name: one of NAMES.
        data_dir: where packages are kept.
        weights: the user's file, for inception.

    Raises:
        InputError: there is no such name, or its weights are not to be had.
    """
    checks.one_of("features", name, NAMES)
    if name == "inception":
        if not weights:
            raise InputError(
                "features is 'inception', whose weights come in no package: give the file "
                "pt_inception-2015-12-05-6726825d.pth with --inception."
            )
        return inception.load(weights)
    return efficientnet.load(data_dir)
