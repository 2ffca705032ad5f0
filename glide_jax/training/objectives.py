"""The objective of text-to-image networks, as losses of (params, batch, key)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from glide_jax import checks
from glide_jax.diffusion import losses, parameterization, samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.errors import InputError
from glide_jax.training import quartiles
from glide_jax.training.sections import Diffusion
from glide_jax.training.text_loss import any_order_loss
from glide_jax.types import Cond, Denoiser, Image, Loss, Params, Prediction, TextCond


class Batch(NamedTuple):
    """Images and captions; `low_res` for upsamplers, the last two for inpainting."""

    image: Image
    tokens: Int[Array, "b n"]
    mask: Bool[Array, "b n"]
    low_res: Image | None = None
    known: Image | None = None
    mask_known: Float[Array, "b h w 1"] | None = None


def condition(batch: Batch, text: TextCond | None) -> Cond:
    """The network's condition: the text, and the image planes that came with the batch."""
    return Cond(text, low_res=batch.low_res, known=batch.known, mask_known=batch.mask_known)


def emptied(batch: Batch, null_tokens: Int[Array, " n"], fraction: float, key: Array) -> Batch:
    """A batch whose captions are emptied at random.

    Args:
        batch: the batch.
        null_tokens: the empty prompt, whose mask is all False.
        fraction: how many are emptied, 0 to 1.
        key: decides which.
    """
    keep = jax.random.bernoulli(key, 1.0 - fraction, (len(batch.image), 1))
    tokens = jnp.where(keep, batch.tokens, null_tokens)
    return batch._replace(tokens=tokens, mask=batch.mask & keep)


def drawn_steps(
    keys: tuple[Array, Array], b: int, num_steps: Int[Array, ""] | int, options: Diffusion
) -> Int[Array, " b"]:
    """Steps drawn evenly, `noisy_share` of them from the noisy end alone.

    Args:
        keys: one for the steps, one for which of them are noisy.
        b: how many.
        num_steps: steps of the chain.
        options: `noisy_share` and `noisy_from` are read.
    """
    noisy = jax.random.bernoulli(keys[1], options.noisy_share, (b,))
    begin = jnp.minimum(options.noisy_from, 1.0) * (num_steps - 1)
    lowest = jnp.where(noisy, begin.astype(jnp.int32), 0)
    return jax.random.randint(keys[0], (b,), lowest, num_steps)


def hybrid_loss(
    denoise: Denoiser,
    schedule: Schedule,
    x_0: Image,
    i: Int[Array, " b"],
    eps: Image,
    *,
    vb_weight: float = 1e-3,
    weigh: Callable[[Array], Array] = jnp.ones_like,
    prediction: str = "eps",
) -> tuple[losses.Hybrid, Image]:
    """The loss of each image at given steps and noise: the objective without its random choices.

    Args:
        denoise: the network with its condition bound; its `eps` holds what `prediction` names.
        schedule: the diffusion, un-respaced.
        x_0: clean images.
        i: steps.
        eps: the noise to add.
        vb_weight: see `losses.hybrid`.
        weigh: gives the weight of each image's error from its signal-to-noise ratio.
        prediction: "eps", "v" (Salimans & Ho, 2022) or "x_0", whose error is that of its v.

    Returns:
        loss = weight * mse + vb, where mse is the error of the predicted eps or v; and the
        predicted clean images.
    """
    s = schedule.at(i)
    x_t = samplers.q_sample(s, x_0, eps)
    out = denoise(x_t, schedule.t[i])
    snr = schedule.alpha_bar[i] / (1.0 - schedule.alpha_bar[i])
    target, found, implied = eps, out.eps, out
    if prediction != "eps":
        target = parameterization.v_target(s, x_0, eps)
        if prediction == "x_0":
            found = parameterization.v_of_x_0(s, x_t, out.eps)
        implied = out._replace(eps=parameterization.eps_of_v(s, x_t, found))
    mse = ((target - found) ** 2).mean(axis=(1, 2, 3))
    vb = losses.hybrid(schedule, i, x_0, x_t, eps, implied, vb_weight=vb_weight).vb
    predicted = (x_t - s.sqrt_one_minus_alpha_bar * implied.eps) / s.sqrt_alpha_bar
    return losses.Hybrid(weigh(snr) * mse + vb, mse, vb), predicted


def text_to_image(
    network: Callable[..., Prediction],
    encode: Callable[[Params, Array, Array], TextCond | None],
    schedule: Schedule,
    null_tokens: Int[Array, " n"],
    options: Diffusion,
    token_logits: Callable[[Params, Array, Array], Array] | None = None,
    perceive: Callable[[Image, Image], Array] | None = None,
) -> Loss:
    """L_hybrid on eps and the variance (GLIDE, section 2.1), some captions emptied (section 2.3).

    One objective for a base, an upsampler and their inpainting versions: which it is depends on
    what the batch holds.

    `options.noisy_share` of the timesteps is drawn from the noisy end of the chain alone, without
    a correcting weight. Large flat objects show through the noise nearly to its end, and only where
    they do not is there anything to learn from the caption.

    Args:
        network: (params, x_t, t, cond, *, train, rngs) to a prediction, as `apply` of a module
            is; called with train=True and a key for "dropout".
        encode: (params, tokens, mask) to the text's condition.
        schedule: the diffusion, un-respaced.
        null_tokens: the empty prompt, whose mask is all False.
        options: fractions and weights; the noise schedule in it is not read.
        token_logits: (params, tokens, mask) to logits over the vocabulary at every position;
            only used, and then needed, where `text_loss_weight` is not 0.
        perceive: the distance of two pictures, one for each row; only used, and then needed,
            where `perceptual_weight` is not 0.

    Raises:
        InputError: `prediction` is not known, or `perceive` is missing.
    """
    checks.one_of("prediction", options.prediction, parameterization.PREDICTIONS)
    if options.perceptual_weight and perceive is None:
        raise InputError(
            f"diffusion.perceptual_weight is {options.perceptual_weight:g}, which needs the "
            "network that teaches; only training has it, so give 0 here."
        )
    weight, cap = losses.max_snr_weight, options.max_snr
    if options.min_snr_gamma:
        weight, cap = losses.min_snr_weight, options.min_snr_gamma
    error = "eps" if options.prediction == "eps" else "v"
    weigh = lambda snr: weight(snr, cap, error)

    def loss(params: Params, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        i_key, eps_key, null_key, share_key, dropout_key, text_key = jax.random.split(key, 6)
        b = batch.image.shape[0]
        batch = emptied(batch, null_tokens, options.null_fraction, null_key)
        text = encode(params, batch.tokens, batch.mask)
        cond, rngs = condition(batch, text), {"dropout": dropout_key}
        denoise = lambda x_t, t: network(params, x_t, t, cond, train=True, rngs=rngs)

        i = drawn_steps((i_key, share_key), b, schedule.num_steps, options)
        eps = jax.random.normal(eps_key, batch.image.shape)
        terms, x_0 = hybrid_loss(
            denoise,
            schedule,
            batch.image,
            i,
            eps,
            vb_weight=options.vb_weight,
            weigh=weigh,
            prediction=options.prediction,
        )
        total, found = terms.loss.mean(), {"mse": terms.mse.mean(), "vb": terms.vb.mean()}
        if options.perceptual_weight and perceive is not None:
            # Where there is more noise than signal, x_0 is a mean of many pictures, and blurred.
            clean = (schedule.alpha_bar[i] > 0.5)[:, None, None, None]
            predicted = jnp.where(clean, x_0, batch.image)
            found["perceptual"] = perceive(predicted, batch.image).mean()
            total += options.perceptual_weight * found["perceptual"]
        if options.text_loss_weight:
            assert token_logits is not None, "a text loss needs token_logits"
            logits = functools.partial(token_logits, params)
            found["text"] = any_order_loss(logits, batch.tokens, batch.mask, text_key)
            total += options.text_loss_weight * found["text"]
        return total, found | quartiles.by_quartile("mse", terms.mse, i, schedule.num_steps)

    return loss
