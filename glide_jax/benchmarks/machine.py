"""The machine that a benchmark runs on: its facts, and the speed that it reaches by itself."""

import resource
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from glide_jax import compiling
from glide_jax.training import flops

# A CPU has less to do than other devices, which are too fast for so little.
_SIDE = {"cpu": 2048}  # rows and columns of the product
_BATCH = {"cpu": 1}  # pictures of the convolution


def limits(dtype: str) -> dict[str, tuple[Callable[[], Any], float]]:
    """A large matrix product and a large 3 x 3 convolution: calls and their FLOPs."""
    backend = jax.default_backend()
    side, batch = _SIDE.get(backend, 8192), _BATCH.get(backend, 16)
    key = jax.random.key(0)
    a = jax.random.normal(key, (side, side), dtype)
    x = jax.random.normal(key, (batch, 128, 128, 192), dtype)
    kernel = jax.random.normal(key, (3, 3, 192, 192), dtype)
    convolve = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

    def timed(function: Callable, *args: jax.Array) -> tuple[Callable[[], Any], float]:
        compiled = jax.jit(function, compiler_options=compiling.options())
        call = lambda: jnp.asarray(compiled(*args)).block_until_ready()
        return call, flops.count(function, *args)

    return {"product": timed(lambda a: a @ a, a), "convolution": timed(convolve, x, kernel)}


def facts() -> dict[str, Any]:
    """The device, JAX and the memory used so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = jax.devices()[0].memory_stats() or {}
    return {
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "jax": jax.__version__,
        "peak_host_bytes": peak * (1 if sys.platform == "darwin" else 1024),
        "peak_device_bytes": memory.get("peak_bytes_in_use"),
    }
