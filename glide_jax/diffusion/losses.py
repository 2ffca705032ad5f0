"""Training objectives on a batch of noised images (Nichol & Dhariwal, 2021)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.diffusion import samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import Image, Prediction, X0Fn

PerImage = Float[Array, " b"]


class Hybrid(NamedTuple):
    """The terms of L_hybrid, one value per image."""

    loss: PerImage
    mse: PerImage  # mean squared error of eps
    vb: PerImage  # bits per dimension, already weighted


def min_snr_weight(snr: PerImage, gamma: float, prediction: str) -> PerImage:
    """Min-SNR-gamma's weight of the error of a prediction (Hang et al., 2023, section 3.4).

    It is min(SNR, gamma) for x_0, and so min(SNR, gamma) / SNR for eps and
    min(SNR, gamma) / (SNR + 1) for v.

    Args:
        snr: alpha_bar / (1 - alpha_bar).
        gamma: the cap; 5 is the paper's.
        prediction: "eps" or "v".
    """
    # The weight of x_0's error in that of eps is SNR, and 1 more in that of v.
    return (
        jnp.minimum(snr, gamma) / (snr + 1.0)
        if prediction == "v"
        else jnp.minimum(gamma / snr, 1.0)
    )


def max_snr_weight(snr: PerImage, most: float, prediction: str) -> PerImage:
    """The weight under which x_0's error counts at most `most` times at clean timesteps.

    For eps it is Min-SNR's. For v it is (min(SNR, most) + 1) / (SNR + 1): noisy timesteps keep the
    whole weight that the plain error of v gives them, of which Min-SNR leaves next to nothing.

    Args:
        snr: alpha_bar / (1 - alpha_bar).
        most: the cap; infinity is a weight of 1 everywhere.
        prediction: "eps" or "v".
    """
    if prediction == "v":
        return (jnp.minimum(snr, most) + 1.0) / (snr + 1.0)
    return jnp.minimum(most / snr, 1.0)


def normal_kl(
    mean_1: Array, log_var_1: Array, mean_2: Array | float, log_var_2: Array | float
) -> Array:
    """KL(N_1 || N_2) elementwise, in nats.

    Args:
        mean_1: mean of the first normal.
        log_var_1: its log-variance.
        mean_2: mean of the second.
        log_var_2: its log-variance.
    """
    ratio = log_var_1 - log_var_2
    squares = (mean_1 - mean_2) ** 2 * jnp.exp(-jnp.asarray(log_var_2))
    # Nearly equal variances are the rule, and exp(ratio) - 1 has no digits left there.
    return 0.5 * (jnp.expm1(ratio) - ratio + squares)


def approx_standard_normal_cdf(x: Array) -> Array:
    """The tanh approximation of the normal CDF (Page, 1977) that the released models trained on."""
    # A sigmoid is (1 + tanh) / 2 without its cancellation in the lower tail.
    return jax.nn.sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))


def discretized_log_likelihood(x: Image, mean: Image, log_std: Image) -> Image:
    """Log-probability of 8-bit pixels x in [-1, 1] under a Gaussian (Ho et al., 2020, eq. 13).

    Args:
        x: (b, h, w, c) in [-1, 1], on the 8-bit grid.
        mean: the Gaussian's, (b, h, w, c).
        log_std: log of the standard deviation.
    """
    centred, inv_std = x - mean, jnp.exp(-log_std)
    cdf = lambda edge: approx_standard_normal_cdf(inv_std * edge)
    log = lambda p: jnp.log(jnp.maximum(p, 1e-12))
    # The bin on the lower side of the mean, where probabilities near 0 keep their digits.
    lower = -jnp.abs(centred)
    inside = log(cdf(lower + 1.0 / 255.0) - cdf(lower - 1.0 / 255.0))
    # The outermost bins reach to infinity.
    black, white = log(cdf(centred + 1.0 / 255.0)), log(cdf(1.0 / 255.0 - centred))
    return jnp.where(x < -0.999, black, jnp.where(x > 0.999, white, inside))


def vb_term(s: Schedule, i: Array, x_0: Image, x_t: Image, p: samplers.Gaussian) -> PerImage:
    """One term of the variational bound, bits per dimension (Ho et al., 2020, eq. 5).

    Args:
        s: the schedule at the steps.
        i: (b,) steps; step 0 is a likelihood, the others are KLs.
        x_0: the clean image.
        x_t: the noised image.
        p: the model's reverse step.
    """
    true_mean = samplers.q_posterior_mean(s, x_0, x_t)
    kl = normal_kl(true_mean, s.log_var_min, p.mean, p.log_var)
    nll = -discretized_log_likelihood(x_0, p.mean, 0.5 * p.log_var)
    bits = lambda a: a.mean(axis=(1, 2, 3)) / math.log(2.0)
    return jnp.where(i == 0, bits(nll), bits(kl))


def prior_bpd(schedule: Schedule, x_0: Image) -> PerImage:
    """KL of q(x_T | x_0) to the standard normal, bits per dimension: a constant of the data."""
    s = schedule.at(jnp.broadcast_to(schedule.num_steps - 1, x_0.shape[:1]))
    log_var = 2.0 * jnp.log(s.sqrt_one_minus_alpha_bar)
    kl = normal_kl(s.sqrt_alpha_bar * x_0, log_var, 0.0, 0.0)
    return kl.mean(axis=(1, 2, 3)) / math.log(2.0)


def hybrid(
    schedule: Schedule,
    i: Array,
    x_0: Image,
    x_t: Image,
    eps: Image,
    out: Prediction,
    *,
    vb_weight: float | Array = 1e-3,
) -> Hybrid:
    """L_simple + vb_weight * L_vb, the latter teaching the variance only (eq. 16).

    Args:
        schedule: the diffusion, un-respaced.
        i: (b,) steps.
        x_0: clean images.
        x_t: noised images.
        eps: the noise that was added.
        out: the network's prediction at (x_t, schedule.t[i]).
        vb_weight: weight of the *sum* over all steps, as 0.001 in the paper: the sampled term is
            multiplied by it and by the number of steps. 1/num_steps gives a plain mean.
    """
    s = schedule.at(i)
    mse = ((eps - out.eps) ** 2).mean(axis=(1, 2, 3))
    fixed_eps = Prediction(jax.lax.stop_gradient(out.eps), out.var_frac)
    identity: X0Fn = lambda x: x  # clipping would stop gradients; the reference trains without
    p = samplers.p_mean_variance(s, x_t, fixed_eps, identity)
    vb = vb_term(s, i, x_0, x_t, p) * schedule.num_steps * vb_weight
    return Hybrid(mse + vb, mse, vb)
