"""Reuse of a UNet's inner features from step to step (Ma et al., 2023, "DeepCache").

What the coarser levels of a UNet compute changes slowly along a chain. Every few steps the network
is evaluated whole; in the steps between, its outermost level alone is, on the inner features of
the last whole evaluation.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from glide_jax.types import Cond, Guide, Image, Memory, Network, Prediction, Scalar, Timestep

Features = Float[Array, "b n h w c"]  # n conditions, as `guidance.together` orders them


class Kept(NamedTuple):
    """The memory of a chain that reuses features."""

    taken: Int[Array, ""]  # steps since the chain's start
    features: Features  # those of the last whole evaluation


def fresh(x_T: Image, like: jax.ShapeDtypeStruct) -> Kept:
    """The memory at the start of a chain, whose first step is whole.

    Args:
        x_T: (b, h, w, 3), where the chain starts; the features lie on its devices.
        like: shape (n, h, w, c) and dtype of one image's features.
    """
    here = jnp.zeros_like(x_T[:, :1, :1, :1, None], like.dtype)
    return Kept(jnp.int32(0), jnp.tile(here, (1, *like.shape)))


def reusing(network: Network, kept: Kept, every: Scalar) -> Network:
    """The network, whole in every `every`-th step only.

    Which of the two is evaluated is decided as the chain runs, so `every` may be traced. A network
    that is evaluated under the first of the n conditions alone leaves the others' features.

    Args:
        network: takes x_t, t, a condition and `kept`, see `UNet`.
        kept: the chain's memory.
        every: 1 or more.

    Returns:
        A network whose predictions hold the features of all conditions in `kept`.
    """

    def predict(x_t: Image, t: Timestep, cond: Cond) -> Prediction:
        b = kept.features.shape[0]
        conditions = x_t.shape[0] // b
        rows = kept.features[:, :conditions].reshape(-1, *kept.features.shape[2:])
        again = lambda: network(x_t, t, cond, kept=(rows,))
        whole = lambda: network(x_t, t, cond, kept=())
        out = jax.lax.cond(kept.taken % every == 0, whole, again)
        [rows] = out.kept
        rows = rows.reshape(b, conditions, *rows.shape[1:])
        return out._replace(kept=kept.features.at[:, :conditions].set(rows))

    return predict


def remembering(guided: Callable[[Network], Guide], network: Network, every: Scalar) -> Guide:
    """A guide that reuses features, and whose memory is (guidance's own, `Kept`).

    Args:
        guided: makes the guide of a network.
        network: see `reusing`.
        every: see `reusing`.
    """

    def guide(memory: Memory) -> Callable[[Image, Timestep], Prediction]:
        own, kept = memory
        denoise = guided(reusing(network, kept, every))(own)

        def remember(x_t: Image, t: Timestep) -> Prediction:
            out = denoise(x_t, t)
            return out._replace(memory=(out.memory, Kept(kept.taken + 1, out.kept)), kept=())

        return remember

    return guide
