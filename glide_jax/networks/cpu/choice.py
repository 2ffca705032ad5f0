"""The choice of an algorithm for each 3 x 3 convolution of a network that draws."""

from collections.abc import Callable
from typing import Any

import jax

from glide_jax import checks
from glide_jax.networks import zoo
from glide_jax.networks.blocks import Conv3x3
from glide_jax.networks.cpu.convolution import transform_kernel
from glide_jax.networks.initial import initialiser
from glide_jax.networks.interception import intercepting
from glide_jax.trees import flatten, unflatten
from glide_jax.types import Params

# From most exact to fastest; docs/performance.md says what each costs and gains.
CHOICES = ("auto", "direct", "winograd2", "winograd4")
# Tiles win from 64 channels on, but a network so narrow draws before its plan would be made.
MIN_CHANNELS = 192
# With fewer positions than this, products are bound by reading kernels, which m = 4 makes larger.
MIN_SIDE_4 = 16


def prepared(
    config: zoo.ModelConfig, params: Params, choice: str = "auto", dtype: str = "float32"
) -> Any:
    """Parameters with kernels transformed for the chosen algorithm, for drawing only.

    "winograd2" rounds as direct convolutions do, "winograd4" about three times as much, and uses
    F(2, 3) where feature maps are small. "auto" is winograd4 on a CPU in float32, and direct
    everywhere else, where neither has been measured. Transformed kernels take 1.8 and 4 times the
    memory.

    Args:
        config: the network's.
        params: its parameters; left as they are.
        choice: one of CHOICES.
        dtype: the network's compute dtype.

    Raises:
        InputError: there is no such choice.
    """
    checks.one_of("convolutions", choice, CHOICES)
    if choice == "auto":
        choice = "winograd4" if jax.default_backend() == "cpu" and dtype == "float32" else "direct"
    if choice == "direct":
        return params
    flat = flatten(params)
    for path, m in plan(config, params, largest=int(choice[-1])).items():
        flat[path] = transform_kernel(flat[path], m)
    return unflatten(flat)


def plan(config: zoo.ModelConfig, params: Params, largest: int) -> dict[str, int]:
    """m of F(m, 3) for each kernel that gains by it, by path, at the network's nominal size.

    Args:
        config: the network's.
        params: its parameters, or their shapes.
        largest: the greatest m, 2 or 4.
    """
    is_wide = lambda shape: len(shape) == 4 and shape[0] == 3 and min(shape[2:]) >= MIN_CHANNELS
    wide = {path for path, kernel in flatten(params).items() if is_wide(kernel.shape)}
    if not wide:
        return {}  # tracing a network takes a second, which a small model would not get back
    return {
        path: largest if side >= MIN_SIDE_4 else min(largest, 2)
        for path, side in _sides(initialiser(config)).items()
        if path in wide
    }


def _sides(init: Callable[[jax.Array], Any]) -> dict[str, int]:
    """The shorter side of the input of each convolution without a stride, by its kernel's path."""
    sides: dict[str, int] = {}

    def record(next_call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        layer = context.module
        if isinstance(layer, Conv3x3) and context.method_name == "__call__" and layer.stride == 1:
            sides["/".join((*layer.path, "kernel"))] = min(args[0].shape[1:3])
        return next_call(*args, **kwargs)

    with intercepting(record):
        jax.eval_shape(init, jax.random.key(0))  # runs nothing
    return sides
