"""Times a convolution and its gradients, each way in turn: the compiler's own and ours.

python -m launch.studies.measure_convolutions [--rounds 9] [--shapes 16x32x32 1x64x192 ...]

A shape is pictures x side x channels. "By tiles" is F(4, 3) with a kernel transformed before.
Gradients are also taken inside a loop, as a sampler guided by a gradient and a batch in parts take
them, where XLA's CPU backend does not rearrange its own (jax issue 12868).
"""

import argparse
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from glide_jax import compiling
from glide_jax.benchmarks import timing
from glide_jax.networks.cpu import convolution, winograd
from glide_jax.tables import table

SHAPES = ("16x32x32", "16x16x64", "16x8x128", "1x64x192", "1x16x576")
TURNS = 5  # turns of the loop
HEAD = ("what", "pictures x side x channels", "the compiler's, ms", "ours, ms", "times as fast")
Calls = dict[str, Callable[[], object]]


def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution whose gradients the compiler derives."""
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def gradient(convolve: Callable, of: int) -> Callable:
    """The gradient of input (0) or kernel (1) from that of the result."""

    def function(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> jax.Array:
        return jax.vjp(convolve, x, kernel)[1](dy)[of]

    return function


def looped(function: Callable) -> Callable:
    """The function again and again, each turn on what the last one changed."""

    def loop(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> jax.Array:
        turn = lambda _, total: total + function(x, kernel, dy + 1e-9 * total.ravel()[0])
        like = jax.eval_shape(function, x, kernel, dy)
        return jax.lax.fori_loop(0, TURNS, turn, jnp.zeros(like.shape, like.dtype))

    return loop


def ways(shape: tuple[int, int, int]) -> dict[str, tuple[Calls, int]]:
    """The calls to compare by name, and how often each call does its work."""
    pictures, side, channels = shape
    rng = np.random.default_rng(0)
    draw = lambda *size: jax.device_put(np.float32(rng.standard_normal(size)))
    x, dy = draw(pictures, side, side, channels), draw(pictures, side, side, channels)
    kernel = draw(3, 3, channels, channels)

    def calls(first: Callable, second: Callable, *args: ArrayLike) -> Calls:
        jitted = (jax.jit(f, compiler_options=compiling.options()) for f in (first, second))
        run = lambda f: lambda: jax.block_until_ready(f(*args))
        return dict(zip(("plain", "ours"), map(run, jitted), strict=True))

    found = {}
    tiles = jax.block_until_ready(winograd.transform(kernel, 4))
    by_tiles = lambda x, kernel, tiles: winograd.convolve(x, tiles, 4)
    usual = lambda x, kernel, tiles: plain(x, kernel)
    found["the convolution, by tiles"] = calls(usual, by_tiles, x, kernel, tiles), 1
    for of, name in enumerate(("gradient of the input", "gradient of the kernel")):
        theirs, ours = gradient(plain, of), gradient(convolution.convolve, of)
        found[name] = calls(theirs, ours, x, kernel, dy), 1
        found[f"{name}, in a loop"] = calls(looped(theirs), looped(ours), x, kernel, dy), TURNS
    return found


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    args = parser.parse_args()
    rows = []
    for shape in args.shapes:
        pictures, side, channels = map(int, shape.split("x"))
        for name, (calls, often) in ways((pictures, side, channels)).items():
            times = timing.in_turn(calls, args.rounds)
            ms = [f"{1e3 * times[way].median / often:.2f}" for way in ("plain", "ours")]
            middle, low, high = times["ours"].ratio(times["plain"])
            rows.append((name, shape, *ms, f"{middle:.2f} ({low:.2f} to {high:.2f})"))
            print(" | ".join(rows[-1]), file=sys.stderr)
    print(table(rows, HEAD))


if __name__ == "__main__":
    main()
