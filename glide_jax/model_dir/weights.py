"""Formats of a network's weights in memory; smaller ones are widened where they are used."""

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.extras import extra
from glide_jax.trees import path_of
from glide_jax.types import Params

CHOICES = ("float32", "bfloat16", "int8", "float8_e4m3fn")
_KERNEL = re.compile(r"/kernel(/tiles)?$")  # plain, or transformed
# Few numbers, through which x_t comes in and the prediction goes out; their rounding is visible.
_EXACT = re.compile(r"unet/(input_0|out_conv|bypass|bypass_gain)/")


def pack_weights(params: Params, choice: str) -> Any:
    """Parameters in the format in which they are kept.

    "bfloat16" rounds all of them. "int8" and "float8_e4m3fn" round kernels, each output channel
    with a scale of its own (qwix). The first and last layers, norms, biases and embeddings, which
    are small, stay in float32.

    Args:
        params: the parameters, float32.
        choice: one of CHOICES.

    Raises:
        InputError: there is no such choice, or the extra that it needs is not installed.
    """
    checks.one_of("weights", choice, CHOICES)
    if choice == "float32":
        return params
    if choice == "bfloat16":
        return jax.tree.map(lambda p: np.asarray(p, jnp.bfloat16), params)
    qwix = extra("qwix")
    quantized = lambda p: qwix.quantize(jnp.asarray(p), choice, channelwise_axes=(p.ndim - 1,))
    small = lambda name: _KERNEL.search(name) and not _EXACT.match(name)
    pack = lambda path, p: quantized(p) if small(path_of(path)) else p
    return jax.tree_util.tree_map_with_path(pack, params)


@functools.cache  # equal choices are the same function, so that stages share programs
def wrap_apply(choice: str) -> Callable[[Callable], Callable]:
    """A wrapper of a network's `apply`, which then takes the output of `pack_weights`."""
    if choice == "float32":
        return lambda apply: apply
    if choice == "bfloat16":
        widen = functools.partial(jax.tree.map, lambda p: p.astype(jnp.float32))
        return functools.partial(_late, widen)

    def dequantize(variables: Any) -> Any:
        qwix = extra("qwix")
        is_small = lambda p: isinstance(p, qwix.QArray)
        one = lambda p: qwix.dequantize(p) if is_small(p) else p
        return jax.tree.map(one, variables, is_leaf=is_small)

    return functools.partial(_late, dequantize)


def _late(widen: Callable[[Any], Any], apply: Callable) -> Callable:
    """`apply` on widened parameters; the compiler must not widen them before a loop over steps.

    It would keep all of them during the whole loop, and no memory would be saved.
    """

    def call(variables: Any, *args: Any, **kwargs: Any) -> Any:
        variables, args = jax.lax.optimization_barrier((variables, args))
        return apply(widen(variables), *args, **kwargs)

    return call


def check_weights(choice: str, program: Any) -> None:
    """Refuses small weights together with an exported program, or without what packs them.

    Raises:
        InputError: both are given, or the extra that the choice needs is not installed.
    """
    if checks.one_of("weights", choice, CHOICES) != "float32" and program is not None:
        raise InputError(f"weights is {choice!r}, but a program takes float32; leave one out.")
    if choice not in ("float32", "bfloat16"):
        extra("qwix")
