"""Networks that work in windows of canvases larger than they were trained on."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from glide_jax.types import Cond, Image, Network, Prediction, Scalar, Timestep


def windows_across(side: int, window: int, overlap: int) -> int:
    """How many windows, each overlapping the last, it takes to cover `side`.

    Args:
        side: pixels to cover.
        window: pixels of a window.
        overlap: pixels that neighbours share.
    """
    return 1 + max(0, -(-(side - window) // (window - overlap)))


def covered(side: int, window: int, overlap: int) -> int:
    """The least side that whole windows cover exactly and that holds `side`.

    Args:
        side: pixels to cover.
        window: pixels of a window.
        overlap: pixels that neighbours share.
    """
    return window + (windows_across(side, window, overlap) - 1) * (window - overlap)


def window_weights(count: int, window: int, overlap: int) -> np.ndarray:
    """Weights of `count` windows in a row, (count, window); at every place they sum to 1.

    Each falls off linearly through its overlaps, so that no window's edge is seen.

    Args:
        count: windows in the row.
        window: pixels of a window.
        overlap: pixels that neighbours share.
    """
    p = np.arange(window) + 0.5
    ramp = np.minimum(np.minimum(p, window - p), max(overlap, 1))
    starts = np.arange(count) * (window - overlap)
    total = np.zeros(int(starts[-1]) + window)
    for start in starts:
        total[start : start + window] += ramp
    return np.stack([ramp / total[start : start + window] for start in starts])


def tiled(network: Network, window: int, overlap: int, factor: int, batch: int) -> Network:
    """An upsampler for canvases larger than it was trained on: windows, averaged at every step.

    Predictions of overlapping windows are averaged before the step is taken, so that all windows
    are parts of one x_t and agree wherever they meet (Bar-Tal et al., 2023, MultiDiffusion, eq. 5;
    there pixels, here eps and variance). A canvas of one window is the network itself.

    Args:
        network: takes images `window` a side, low-res images `window // factor`.
        window: pixels a side.
        overlap: pixels that neighbours share; a multiple of `factor`.
        factor: enlargement.
        batch: windows in one evaluation.

    Returns:
        A network of canvases of a side that `covered` gives, one to one with their low-res images.
    """
    stride = window - overlap

    def predict(x_t: Image, t: Timestep, cond: Cond) -> Prediction:
        b, height, width, _ = x_t.shape
        rows, columns = (windows_across(n, window, overlap) for n in (height, width))
        count = b * rows * columns
        across = jnp.float32(window_weights(columns, window, overlap))
        down = jnp.float32(window_weights(rows, window, overlap))
        wide = min(batch, count)

        def crop(x: Image, image: Array, row: Array, column: Array, scale: int) -> Image:
            side, s = window // scale, stride // scale
            take = lambda n, r, c: jax.lax.dynamic_slice(
                x, (n, r * s, c * s, 0), (1, side, side, x.shape[3])
            )[0]
            return jax.vmap(take)(image, row, column)

        def some(j: Array, sums: tuple[Image, Image]) -> tuple[Image, Image]:
            k = j * wide + jnp.arange(wide)
            real, k = k < count, jnp.minimum(k, count - 1)  # the last batch repeats its last
            image, row, column = k // (rows * columns), k // columns % rows, k % columns
            part = cond._replace(text=jax.tree.map(lambda a: a[image], cond.text))
            assert cond.low_res is not None, "only upsamplers work in windows"
            part = part._replace(low_res=crop(cond.low_res, image, row, column, factor))
            out = network(crop(x_t, image, row, column, 1), t[image], part)
            weight = down[row][:, :, None, None] * across[column][:, None, :, None]
            weight = weight * real[:, None, None, None]
            for n in range(wide):
                at = (image[n], row[n] * stride, column[n] * stride, 0)
                sums = tuple(
                    _add(total, (weight * value)[n : n + 1], at)
                    for total, value in zip(sums, (out.eps, out.var_frac), strict=True)
                )  # type: ignore[assignment]
            return sums

        zeros = (jnp.zeros_like(x_t), jnp.zeros_like(x_t))
        return Prediction(*jax.lax.fori_loop(0, -(-count // wide), some, zeros))

    return predict


def _add(total: Image, part: Image, at: tuple[Scalar | int, ...]) -> Image:
    here = jax.lax.dynamic_slice(total, at, part.shape)
    return jax.lax.dynamic_update_slice(total, here + part, at)
