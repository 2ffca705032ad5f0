"""Meanings of a network's output: eps, x_0, or v, which is eps and x_0 mixed."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from glide_jax.diffusion import samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import Cond, Image, Network, Prediction, Timestep

PREDICTIONS = ("eps", "v", "x_0")


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


def v_of_x_0(s: Schedule, x_t: Image, x_0: Image) -> Image:
    """The v that x_0 and x_t imply: (sqrt(alpha_bar) x_t - x_0) / sqrt(1 - alpha_bar).

    A network that predicts x_0 and is trained on the error of this v learns patches that hold more
    numbers than it has channels ("Back to basics", Li & He, 2025, arXiv:2511.13720).

    Args:
        s: the schedule at the step.
        x_t: (b, h, w, c).
        x_0: the network's output.
    """
    return (s.sqrt_alpha_bar * x_t - x_0) / s.sqrt_one_minus_alpha_bar


def x_0_of(s: Schedule, x_t: Image, out: Image, prediction: str) -> Image:
    """The x_0 that a network's output implies, without a way through eps where there is a shorter.

    Args:
        s: the schedule at the step.
        x_t: (b, h, w, c).
        out: the network's output.
        prediction: one of PREDICTIONS, its meaning.
    """
    if prediction == "x_0":
        return out
    if prediction == "v":
        return s.sqrt_alpha_bar * x_t - s.sqrt_one_minus_alpha_bar * out
    return samplers.predict_x_0(s, x_t, out)


def predicting_eps(network: Network, alpha_bar: np.ndarray, prediction: str) -> Network:
    """Makes a network that was trained to predict v or x_0 predict eps.

    Small networks on patches learn v far sooner: where x_t is mostly noise, eps asks them to
    copy x_t exactly through few channels, v only to paint x_0.

    Args:
        network: its `Prediction.eps` holds what `prediction` names.
        alpha_bar: the trained diffusion's, float64, one entry per timestep.
        prediction: one of PREDICTIONS.
    """
    if prediction == "eps":
        return network
    signal, noise = np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar)
    of_x_t, of_out = (noise, signal) if prediction == "v" else (1.0 / noise, -signal / noise)
    of_x_t, of_out = (jnp.float32(table)[:, None, None, None] for table in (of_x_t, of_out))

    def predict(x_t: Image, t: Timestep, cond: Cond, **kept: Any) -> Prediction:
        out = network(x_t, t, cond, **kept)
        return out._replace(eps=of_x_t[t] * x_t + of_out[t] * out.eps)

    return predict
