"""Packages that only evaluation needs, imported where they are used."""

import importlib
from types import ModuleType

from glide_jax.errors import InputError


def extra(module: str) -> ModuleType:
    """A module of a package that comes with the `eval` extra.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{module.split('.')[0]!r}, which evaluation needs, cannot be imported ({error}): "
            "pip install 'glide-jax[eval]'."
        ) from None
