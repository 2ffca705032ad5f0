"""PyTorch convolution networks to parameters, batch normalisation folded in."""

import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax.errors import InputError
from glide_jax.types import Params

_EPS = 1e-3  # of batch normalisation, in both networks


def fold(state: Mapping[str, np.ndarray], conv: str, norm: str) -> Params:
    """A convolution and the batch normalisation behind it as one; in float64, stored as float32."""
    get = lambda name: np.asarray(state[name], np.float64)
    gain = get(f"{norm}.weight") / np.sqrt(get(f"{norm}.running_var") + _EPS)
    kernel = get(f"{conv}.weight").transpose(2, 3, 1, 0) * gain
    bias = get(f"{norm}.bias") - get(f"{norm}.running_mean") * gain
    return {"kernel": np.float32(kernel), "bias": np.float32(bias)}


def checked(params: Params, network, side: int, path: str | pathlib.Path) -> Params:
    """Parameters, if they are the network's.

    Raises:
        InputError: a layer is missing, is too many or has another shape.
    """
    image = jnp.zeros((1, side, side, 3))
    wanted = jax.eval_shape(lambda: network.init(jax.random.key(0), image))["params"]
    shape = lambda tree: {
        f"{layer}.{leaf}": tuple(a.shape)
        for layer, leaves in tree.items()
        for leaf, a in leaves.items()
    }
    want, got = shape(wanted), shape(params)
    for name in sorted(want.keys() | got.keys()):
        if want.get(name) != got.get(name):
            raise InputError(
                f"{str(path)!r} is not a {type(network).__name__}: {name} is {got.get(name)} "
                f"instead of {want.get(name)}."
            )
    return params
