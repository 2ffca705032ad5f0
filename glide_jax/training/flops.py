"""The arithmetic of a function, and the most that a device could do."""

import math
import re
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

# bfloat16 multiply-adds without sparsity, TFLOP/s a device, as makers state them. A TPU's device is
# a chip from v4 on. Checked in this order, so that "v5 lite" is not taken for "v5".
PEAK_TFLOPS = (
    ("h200|h100", 989.0),
    ("b200", 2250.0),
    ("a100", 312.0),
    ("l40s", 362.0),
    ("l4", 121.0),
    ("v100", 125.0),
    ("t4", 65.0),
    ("rtx 4090", 165.0),
    ("rtx 3090", 71.0),
    ("v6 lite|v6e", 918.0),
    ("v5 lite|v5e", 197.0),
    ("v5", 459.0),
    ("v4", 275.0),
)


def peak_tflops(device_kind: str) -> float | None:
    """The peak that a device's maker states, or None for a device that is not in the table."""
    kind = device_kind.lower()
    for pattern, peak in PEAK_TFLOPS:
        if re.search(rf"\b({pattern})\b", kind):
            return peak
    return None


def measured_tflops(side: int = 1024, seconds: float = 0.3) -> float:
    """Measures a float32 matrix product on the default device, where no maker states a peak."""
    product = jax.jit(lambda a: a @ a)
    a = product(jnp.ones((side, side))).block_until_ready()
    began, rounds = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        product(a).block_until_ready()
        rounds += 1
    return rounds * 2 * side**3 / passed / 1e12


def count(function: Callable[..., Any], *args: Any) -> float:
    """Floating-point operations of the matrix products and convolutions in a call.

    From the traced program, before any compiler has seen it: XLA's own analysis leaves out what it
    turns into calls of libraries, and counts what it chooses to compute twice. A multiply-add is
    two; all else is a few per cent.

    Args:
        function: traceable; for a gradient's cost take three times that of the loss.
        *args: arrays or ShapeDtypeStructs.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: core.Jaxpr) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name, out = equation.primitive.name, equation.outvars[0].aval if equation.outvars else None
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape  # type: ignore[union-attr]
            total += 2.0 * math.prod(out.shape) * math.prod(shape[i] for i in contracted)  # type: ignore[union-attr]
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape  # type: ignore[union-attr]
            features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2.0 * math.prod(out.shape) * math.prod(kernel) / features  # type: ignore[union-attr]
        else:
            inner = [_count(part) for part in _inner(equation.params)]
            repeats = equation.params["length"] if name == "scan" else 1
            # One branch of a condition is taken; everything else inside is done.
            total += repeats * (max(inner, default=0.0) if name == "cond" else sum(inner))
    return total


def _inner(params: dict[str, Any]) -> list[core.Jaxpr]:
    """The programs inside an operation; a custom gradient counts as the function alone."""
    found = []
    for value in params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, core.ClosedJaxpr):
                found.append(part.jaxpr)
            elif isinstance(part, core.Jaxpr):
                found.append(part)
    return found
