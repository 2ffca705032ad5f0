"""Which algorithm each 3 x 3 convolution of a network is done by when it draws."""

import jax

from glide_jax import checks
from glide_jax.networks import zoo
from glide_jax.networks.blocks import conv3x3_sides
from glide_jax.networks.cpu import winograd
from glide_jax.networks.initial import initialiser
from glide_jax.trees import flatten
from glide_jax.types import Params

# From most exact to fastest; what each costs and gains is in docs/performance.md.
CHOICES = ("auto", "direct", "winograd2", "winograd4")


def prepared(config: zoo.ModelConfig, params: Params, choice: str = "auto", dtype: str = "float32"):
    """Parameters whose kernels are transformed for the algorithm that is asked for.

    "winograd2" rounds as direct convolutions do, "winograd4" about three times as much, and uses
    F(2, 3) where feature maps are small. "auto" is winograd4 on a CPU in float32, and direct
    everywhere else, where neither has been measured. Transformed kernels take 1.8 and 4 times the
    memory.

    Args:
        config: the network's.
        params: its parameters; left as they are.
        choice: one of CHOICES.
        dtype: that the network computes in.

    Raises:
        InputError: there is no such choice.
    """
    checks.one_of("convolutions", choice, CHOICES)
    if choice == "auto":
        choice = "winograd4" if jax.default_backend() == "cpu" and dtype == "float32" else "direct"
    if choice == "direct":
        return params
    return winograd.prepare(params, plan(config, params, largest=int(choice[-1])))


def plan(config: zoo.ModelConfig, params: Params, largest: int) -> dict[tuple[str, ...], int]:
    """m of F(m, 3) for each convolution that gains by it, at the network's nominal size."""
    flat = flatten(params)
    wide = lambda shape: (
        len(shape) == 4 and shape[0] == 3 and min(shape[2:]) >= winograd.MIN_CHANNELS
    )
    if not any(wide(kernel.shape) for kernel in flat.values()):
        return {}  # tracing a network takes a second, which a small model would not get back
    tiles = {}
    for path, smallest in conv3x3_sides(initialiser(config)).items():
        if wide(flat["/".join((*path, "kernel"))].shape):
            tiles[path] = largest if smallest >= winograd.MIN_SIDE_4 else min(largest, 2)
    return tiles
