"""What a network is trained to do, as losses of (params, batch, key)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from glide_jax.diffusion import losses, parameterization, samplers
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
    max_snr: float = float("inf"),
    prediction: str = "eps",
    noisy_share: float = 0.0,
) -> Loss:
    """L_hybrid on eps and the variance (GLIDE, section 2.1), some captions emptied (section 2.3).

    Args:
        network: parameters to a network.
        encode: (params, tokens, mask) to the text's condition.
        schedule: the diffusion, un-respaced.
        null_tokens: the empty prompt, whose mask is all False.
        null_fraction: part of captions replaced by the empty one.
        vb_weight: see `losses.hybrid`.
        max_snr: caps the weight that clean timesteps have in the error of x_0, as Min-SNR does
            (Hang et al., 2023); infinity is the plain mean squared error of the prediction.
        noisy_share: part of timesteps drawn from the noisiest 5% alone, without a correcting
            weight. Large flat objects show through the noise nearly to its end, and only where
            they do not is there anything to learn from the caption.
        prediction: "eps", or "v" (Salimans & Ho, 2022) for networks trained from nothing.
    """

    def loss(params: Params, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        i_key, eps_key, null_key, share_key = jax.random.split(key, 4)
        b = batch.image.shape[0]
        keep = jax.random.bernoulli(null_key, 1.0 - null_fraction, (b, 1))
        tokens = jnp.where(keep, batch.tokens, null_tokens)
        text = encode(params, tokens, batch.mask & keep)

        noisy = jax.random.bernoulli(share_key, noisy_share, (b,))
        lowest = jnp.where(noisy, schedule.num_steps * 19 // 20, 0)
        i = jax.random.randint(i_key, (b,), lowest, schedule.num_steps)
        eps = jax.random.normal(eps_key, batch.image.shape)
        x_t = samplers.q_sample(schedule.at(i), batch.image, eps)
        s = schedule.at(i)
        out = network(params)(x_t, schedule.t[i], Cond(text, low_res=batch.low_res))
        # The signal-to-noise ratio is the weight of x_0's error in that of eps, and 1 more in v's.
        snr = schedule.alpha_bar[i] / (1.0 - schedule.alpha_bar[i])
        if prediction == "v":
            error = ((parameterization.v_target(s, batch.image, eps) - out.eps) ** 2).mean(
                (1, 2, 3)
            )
            weight = (jnp.minimum(snr, max_snr) + 1.0) / (snr + 1.0)
            out = out._replace(eps=parameterization.eps_of_v(s, x_t, out.eps))
        else:
            error = ((eps - out.eps) ** 2).mean((1, 2, 3))
            weight = jnp.minimum(snr, max_snr) / snr
        terms = losses.hybrid(schedule, i, batch.image, x_t, eps, out, vb_weight=vb_weight)
        total = (weight * error + terms.vb).mean()
        return total, {
            "mse": terms.mse.mean(),
            "error": error.mean(),
            "vb": terms.vb.mean(),
            "error_noisiest": jnp.mean(error, where=i >= schedule.num_steps * 19 // 20),
        }

    return loss
