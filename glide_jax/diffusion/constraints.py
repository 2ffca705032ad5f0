"""Functions on predictions of x_0: what every denoised image must satisfy."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.types import Image, Scalar, X0Fn


def clip(x_0: Image) -> Image:
    """Pixels are in [-1, 1] (Ho et al., 2020)."""
    return jnp.clip(x_0, -1.0, 1.0)


def dynamic_threshold(share: Scalar) -> X0Fn:
    """Clips at a quantile of each image's own |x_0| and divides by it (Saharia et al., 2022, 2.3).

    High guidance scales push most pixels beyond [-1, 1], where `clip` saturates them all; this
    keeps their differences. An image within [-1, 1] is left as it is.

    Args:
        share: the quantile, 0 to 1; Imagen's is 0.995. 1 only divides by the largest.
    """

    def threshold(x_0: Image) -> Image:
        size = jnp.quantile(jnp.abs(x_0), share, axis=(1, 2, 3), keepdims=True)
        size = jnp.maximum(size, 1.0)
        return jnp.clip(x_0, -size, size) / size

    return threshold


def known_pixels(known: Image, mask_known: Float[Array, "b h w 1"]) -> X0Fn:
    """Replaces what is known of the picture, at every step (GLIDE, section 4.3).

    Args:
        known: the picture, [-1, 1]; unknown pixels do not matter.
        mask_known: 1 where `known` is to be kept, 0 where the model paints.
    """
    return lambda x_0: x_0 * (1.0 - mask_known) + known * mask_known


def compose(*functions: X0Fn) -> X0Fn:
    """Applies the functions from left to right."""

    def composed(x_0: Image) -> Image:
        for function in functions:
            x_0 = function(x_0)
        return x_0

    return composed
