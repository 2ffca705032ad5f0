"""Packages that only some need, imported where they are used."""

import importlib
from types import ModuleType

from glide_jax.errors import InputError

_OF_EVAL = {"matplotlib", "scipy"}  # the others come with the `data` extra


def extra(module: str) -> ModuleType:
    """A module of a package that comes with the `data` or the `eval` extra.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        bundle = "eval" if package in _OF_EVAL else "data"
        raise InputError(
            f"{package!r}, which this needs, cannot be imported ({error}): "
            f"pip install 'glide-jax[{bundle}]'."
        ) from None
