"""Weights of PyTorch networks: folded, and checked against the network they are for."""

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from glide_jax.errors import InputError
from glide_jax.trees import flatten
from glide_jax.types import Params

State = Mapping[str, np.ndarray]  # a PyTorch state dict

_EPS = 1e-3  # batch normalisation's, in TensorFlow's networks


def fold_norm(state: State, conv: str, norm: str, eps: float = _EPS) -> Params:
    """Folds a batch norm into the convolution before it, in float64; stored as float32.

    Args:
        state: arrays by name.
        conv: prefix of the convolution's names.
        norm: prefix of the batch norm's names.
        eps: what the batch norm adds to the variance.
    """
    get = lambda name: np.asarray(state[name], np.float64)
    gain = get(f"{norm}.weight") / np.sqrt(get(f"{norm}.running_var") + eps)
    kernel = get(f"{conv}.weight").transpose(2, 3, 1, 0) * gain
    bias = get(f"{norm}.bias") - get(f"{norm}.running_mean") * gain
    return {"kernel": np.float32(kernel), "bias": np.float32(bias)}


def check_params(
    params: Params, init: Callable[[], Any], kind: str, path: str | os.PathLike
) -> Params:
    """Returns the parameters if they are the network's.

    Args:
        params: nested arrays.
        init: makes the network's own variables; it is only traced.
        kind: the network's name, for the message.
        path: the file of the weights, for the message.

    Raises:
        InputError: a layer is missing, is too many or has another shape.
    """
    shapes = lambda tree: {name: tuple(leaf.shape) for name, leaf in flatten(tree).items()}
    expected, given = shapes(jax.eval_shape(init)["params"]), shapes(params)
    for name in sorted(expected.keys() | given.keys()):
        if expected.get(name) != given.get(name):
            raise InputError(
                f"{str(path)!r} is not a {kind}: {name} is {given.get(name)} instead of "
                f"{expected.get(name)}."
            )
    return params


def file_sha256(path: str | os.PathLike) -> str:
    """The sum of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
