"""EfficientNet-Lite0, a stand-in for Inception: an ImageNet backbone that comes in a package."""

import functools
import pathlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt8

from glide_jax.evaluation.features.extractor import Features
from glide_jax.model_dir.backbone import PACKAGE, read_efficientnet
from glide_jax.networks.efficientnet import SIDE, EfficientNetLite0
from glide_jax.types import Params

NAME = "efficientnet-lite0"


def load_efficientnet(data_dir: pathlib.Path) -> Features:
    """The extractor, its package fetched into `data_dir`/packages unless it is there.

    Raises:
        InputError: the package cannot be fetched or has another sum.
    """
    apply = functools.partial(_apply, EfficientNetLite0())
    return Features(NAME, PACKAGE.sha256, SIDE, read_efficientnet(data_dir), apply)


def _apply(network: EfficientNetLite0, params: Params, images: UInt8[Array, "b h w 3"]):
    x = jnp.asarray(images, jnp.float32) / 127.5 - 1.0
    shape = (len(images), SIDE, SIDE, 3)
    x = jax.image.resize(x, shape, "cubic", antialias=True, precision=jax.lax.Precision.HIGHEST)
    return network.apply({"params": params}, x)
