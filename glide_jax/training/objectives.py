"""What a network is trained to do, as losses of (params, batch, key)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from glide_jax.diffusion import losses, samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import Cond, Image, Loss, Network, Params, TextCond


class Batch(NamedTuple):
    """Images and captions; `low_res` for upsamplers only."""

    image: Image
    tokens: Int[Array, "b n"]
    mask: Bool[Array, "b n"]
    low_res: Image | None = None


def text_to_image(
    network: Callable[[Params], Network],
    encode: Callable[[Params, Array, Array], TextCond | None],
    schedule: Schedule,
    null_tokens: Int[Array, " n"],
    *,
    null_fraction: float = 0.2,
    vb_weight: float = 1e-3,
    min_snr: float = float("inf"),
) -> Loss:
    """L_hybrid on eps and the variance (GLIDE, section 2.1), some captions emptied (section 2.3).

    Args:
        network: parameters to a network.
        encode: (params, tokens, mask) to the text's condition.
        schedule: the diffusion, un-respaced.
        null_tokens: the empty prompt, whose mask is all False.
        null_fraction: part of captions replaced by the empty one.
        vb_weight: see `losses.hybrid`.
        min_snr: caps the signal-to-noise ratio's weight (Hang et al., 2023); infinity is L_simple.
    """

    def loss(params: Params, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        i_key, eps_key, null_key = jax.random.split(key, 3)
        b = batch.image.shape[0]
        keep = jax.random.bernoulli(null_key, 1.0 - null_fraction, (b, 1))
        tokens = jnp.where(keep, batch.tokens, null_tokens)
        text = encode(params, tokens, batch.mask & keep)

        i = jax.random.randint(i_key, (b,), 0, schedule.num_steps)
        eps = jax.random.normal(eps_key, batch.image.shape)
        x_t = samplers.q_sample(schedule.at(i), batch.image, eps)
        out = network(params)(x_t, schedule.t[i], Cond(text, low_res=batch.low_res))
        terms = losses.hybrid(schedule, i, batch.image, x_t, eps, out, vb_weight=vb_weight)
        snr = schedule.alpha_bar[i] / (1.0 - schedule.alpha_bar[i])
        weight = jnp.minimum(snr, min_snr) / snr
        total = (weight * terms.mse + terms.vb).mean()
        noisy = i >= schedule.num_steps // 2
        return total, {
            "mse": terms.mse.mean(),
            "vb": terms.vb.mean(),
            "mse_noisy_half": jnp.mean(terms.mse, where=noisy),
        }

    return loss
