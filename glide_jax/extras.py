"""Packages that only some need, imported where they are used."""

import importlib
from types import ModuleType

from glide_jax.errors import InputError

# The extra that brings a package; `data` brings the others.
_OF = {"matplotlib": "eval", "scipy": "eval", "flatbuffers": "programs", "qwix": "quantized"}


def extra(module: str) -> ModuleType:
    """A module of a package that comes with an extra.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        bundle = _OF.get(package, "data")
        raise InputError(
            f"{package!r}, which this needs, cannot be imported ({error}): "
            f"pip install 'glide-jax[{bundle}]'."
        ) from None
