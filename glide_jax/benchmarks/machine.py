"""What the machine itself reaches, measured in the same run as what is compared with it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from glide_jax import compiling
from glide_jax.training import flops

_SIDE = {"cpu": 2048}  # of the square product; elsewhere devices are too fast for that
_BATCH = {"cpu": 1}  # of the convolution


def calls(dtype: str) -> dict[str, tuple[Callable[[], Any], float]]:
    """A large matrix product and a large 3 x 3 convolution: calls and their FLOPs."""
    backend, options = jax.default_backend(), compiling.options()
    side, batch = _SIDE.get(backend, 8192), _BATCH.get(backend, 16)
    key = jax.random.key(0)
    a = jax.random.normal(key, (side, side), dtype)
    x = jax.random.normal(key, (batch, 128, 128, 192), dtype)
    kernel = jax.random.normal(key, (3, 3, 192, 192), dtype)
    product = lambda a: a @ a
    convolve = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = {}
    for name, function, args in (
        ("product", product, (a,)),
        ("convolution", convolve, (x, kernel)),
    ):
        compiled = jax.jit(function, compiler_options=options)
        call = lambda compiled=compiled, args=args: jnp.asarray(compiled(*args)).block_until_ready()
        found[name] = (call, flops.count(function, *args))
    return found
