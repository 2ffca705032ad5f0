"""Meanings of a network's output: eps, or v, which is eps and x_0 mixed."""

import jax.numpy as jnp
import numpy as np

from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import Cond, Image, Network, Prediction, Timestep

PREDICTIONS = ("eps", "v")


def v_target(s: Schedule, x_0: Image, eps: Image) -> Image:
    """v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0 (Salimans & Ho, 2022, appendix D).

    Args:
        s: the schedule at the step.
        x_0: the clean image.
        eps: the noise in x_t.
    """
    return s.sqrt_alpha_bar * eps - s.sqrt_one_minus_alpha_bar * x_0


def eps_of_v(s: Schedule, x_t: Image, v: Image) -> Image:
    """The eps that v and x_t imply.

    Args:
        s: the schedule at the step.
        x_t: (b, h, w, c).
        v: the network's output.
    """
    return s.sqrt_one_minus_alpha_bar * x_t + s.sqrt_alpha_bar * v


def predicting_v(network: Network, alpha_bar: np.ndarray) -> Network:
    """Makes a network that was trained to predict v predict eps.

    Small networks on patches learn v far sooner: where x_t is mostly noise, eps asks them to
    copy x_t exactly through few channels, v only to paint x_0.

    Args:
        network: its `Prediction.eps` holds v.
        alpha_bar: the trained diffusion's, float64, one entry per timestep.
    """
    signal = jnp.float32(np.sqrt(alpha_bar))[:, None, None, None]
    noise = jnp.float32(np.sqrt(1.0 - alpha_bar))[:, None, None, None]

    def predict(x_t: Image, t: Timestep, cond: Cond) -> Prediction:
        out = network(x_t, t, cond)
        return out._replace(eps=noise[t] * x_t + signal[t] * out.eps)

    return predict
