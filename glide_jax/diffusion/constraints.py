"""Functions on predictions of x_0: what every denoised image must satisfy."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.types import Image, X0Fn


def clip(x_0: Image) -> Image:
    """Pixels are in [-1, 1] (Ho et al., 2020)."""
    return jnp.clip(x_0, -1.0, 1.0)


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
