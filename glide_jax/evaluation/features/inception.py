"""The extractor of the Fréchet Inception Distance, from a file of the user's."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glide_jax.checkpoints.torch import reader
from glide_jax.errors import InputError
from glide_jax.evaluation.features.extractor import FID, Features
from glide_jax.model_dir.convert import State, check_params, file_sha256, fold_norm
from glide_jax.networks.inception import SIDE, InceptionV3
from glide_jax.types import Params

# pt_inception-2015-12-05-6726825d.pth, which is weights-inception-2015-12-05-6726825d.pth too.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def load_inception(path: str | os.PathLike, network: InceptionV3 | None = None) -> Features:
    """The extractor of a state dict in the layout of pt_inception-2015-12-05.

    A file with another sum is used, but under a name of its own: its distances are no FID.

    Raises:
        InputError: the file cannot be read or is another network's.
    """
    network = network or InceptionV3()
    params = _params(reader.read_state_dict(path), network, path)
    sha256 = file_sha256(path)
    name = FID if sha256 == SHA256 else f"inception-v3-{sha256[:8]}"
    return Features(name, sha256, SIDE, params, functools.partial(_apply, network))


def _params(state: State, network: InceptionV3, path: str | os.PathLike) -> Params:
    convs = [name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")]
    try:
        params = {
            name: fold_norm(state, f"{name}.conv", f"{name}.bn")
            for name in convs
            if not name.startswith("AuxLogits")
        }
        params["fc"] = {"kernel": np.float32(np.asarray(state["fc.weight"]).T)}
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{str(path)!r} is not an Inception-v3 in the layout of pt_inception-2015-12-05 "
            f"({type(error).__name__}: {error})."
        ) from None
    init = lambda: network.init(jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)))
    return check_params(params, init, type(network).__name__, path)


def _apply(network: InceptionV3, params: Params, images: UInt8[Array, "b h w 3"]):
    x = resize_2015(jnp.asarray(images, jnp.float32), SIDE)
    return network.apply({"params": params}, (x - 128.0) / 128.0)


def resize_2015(x: Float[Array, "b h w 3"], side: int) -> Float[Array, "b s s 3"]:
    """Bilinear as the 2015 graph does it: pixel i of the result looks at i * h / side of x.

    It has neither pixel centres nor antialiasing, and is kept because every published FID has
    it inside; anything better would be another metric.
    """
    rows, columns = (jnp.asarray(_bilinear(n, side)) for n in x.shape[1:3])
    return jnp.einsum("ph,bhwc,qw->bpqc", rows, x, columns, precision="highest")


def _bilinear(n: int, side: int) -> Float[np.ndarray, "s n"]:
    place = np.arange(side) * np.float64(n) / side
    low = np.floor(place).astype(int)
    weights = np.zeros((side, n))
    weights[np.arange(side), low] += 1 - (place - low)
    weights[np.arange(side), np.minimum(low + 1, n - 1)] += place - low
    return weights.astype(np.float32)
