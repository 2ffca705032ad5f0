"""How a network's weights lie in memory: what is stored smaller is widened where it is used."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.extras import extra
from glide_jax.trees import flatten, unflatten
from glide_jax.types import Params

CHOICES = ("float32", "bfloat16", "int8", "float8_e4m3fn")
# Few numbers, through which x_t comes in and the prediction goes out: their rounding is seen.
_EXACT = re.compile(r"unet/(input_0|out_conv|bypass|bypass_gain)/")


def pack_weights(params: Params, choice: str) -> Any:
    """Parameters as they are kept.

    "bfloat16" rounds all of them. "int8" and "float8_e4m3fn" round kernels, each output channel by
    a scale of its own (qwix), and leave the first and last layers, norms, biases and embeddings,
    which are small, in float32.

    Args:
        params: float32.
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
    small = lambda path: path.endswith("/kernel") and not _EXACT.match(path)
    flat = flatten(params)
    return unflatten({path: quantized(p) if small(path) else p for path, p in flat.items()})


def wrap_apply(choice: str) -> Callable[[Callable], Callable]:
    """A wrapper of a network's `apply`, which then takes the output of `pack_weights`."""
    return {"float32": _as_is, "bfloat16": _widened}.get(choice, _dequantized)


def _as_is(apply: Callable) -> Callable:
    return apply


def _widened(apply: Callable) -> Callable:
    return _late(apply, lambda variables: jax.tree.map(lambda p: p.astype(jnp.float32), variables))


def _dequantized(apply: Callable) -> Callable:
    qwix = extra("qwix")
    is_small = lambda p: isinstance(p, qwix.QArray)
    widen = lambda p: qwix.dequantize(p) if is_small(p) else p
    return _late(apply, lambda variables: jax.tree.map(widen, variables, is_leaf=is_small))


def _late(apply: Callable, widen: Callable[[Any], Any]) -> Callable:
    """`apply` on widened parameters, which the compiler may not widen before a loop over steps.

    It would keep all of them for the loop's whole length, and no memory would be saved.
    """

    def call(variables: Any, *args: Any, **kwargs: Any) -> Any:
        variables, args = jax.lax.optimization_barrier((variables, args))
        return apply(widen(variables), *args, **kwargs)

    return call


def check_weights(choice: str, program: Any) -> None:
    """Refuses what does not go together.

    Raises:
        InputError: a program with small weights.
    """
    if checks.one_of("weights", choice, CHOICES) != "float32" and program is not None:
        raise InputError(f"weights is {choice!r}, but a program takes float32; leave one out.")
