"""Packages that only some need, imported where they are used."""

import importlib
from types import ModuleType

from glide_jax.errors import InputError

# The distributions that each extra of setup.py brings.
EXTRAS = {
    "cuda": ("jax-cuda12-plugin",),
    "cuda13": ("jax-cuda13-plugin",),
    "tpu": ("libtpu",),
    "data": ("grain", "array_record", "pyarrow", "resvg-py"),
    "eval": ("scipy", "matplotlib"),
    "plot": ("matplotlib",),
    "tensorboard": ("tensorboardX",),
    "programs": ("flatbuffers",),
    "provenance": ("c2pa-python",),
    "quantized": ("qwix",),
    "serve": ("fastapi", "uvicorn", "python-multipart", "prometheus_client", "gradio"),
}


def extra(module: str) -> ModuleType:
    """Imports a module of a package that comes with an extra.

    Raises:
        InputError: The package is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        brings = (
            name
            for name, distributions in EXTRAS.items()
            if package in {d.replace("-", "_").removesuffix("_python") for d in distributions}
        )
        raise InputError(
            f"{package!r}, which this needs, cannot be imported ({error}): "
            f"pip install 'glide-jax[{next(brings, 'data')}]'."
        ) from None
