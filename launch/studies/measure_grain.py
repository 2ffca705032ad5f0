"""The grain that a base leaves in its guess of x_0, by timestep: where a chain should end.

python -m launch.studies.measure_grain emoji runs/emoji_64-styled/model

Flat emoji of training get noise of each timestep, the same for every model, and the base says what
they were. Errors are in levels of 255, before anything is clipped: over the whole picture, and on
its paper, the pixels that are white as far as three pixels around. A sampler's picture is the guess
at its last timestep. Where the guess is cleaner at a noisier timestep, the steps below it put grain
into the picture, and a respacing whose first sections have no steps leaves them out.
"""

import argparse
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from glide_jax.diffusion import parameterization, samplers, schedules
from glide_jax.model_dir import reading
from glide_jax.networks import zoo
from glide_jax.tables import table
from glide_jax.types import Cond, TextCond
from launch.studies.measure_errors import Pictures, pictures
from launch.studies.shared import cache_folder, progress

TIMESTEPS = (0, 5, 10, 20, 50, 80, 100, 120, 150, 200, 300)
AROUND = 7  # pixels of the square that is white around a pixel of the paper


class Grain(NamedTuple):
    """Root mean squares of errors, in levels of 255."""

    noise: float  # that the picture got
    whole: float
    paper: float  # about their mean; nan where no picture has paper


def paper(image: np.ndarray) -> np.ndarray:
    """Which pixels, (n, h, w), of (n, h, w, 3) in [-1, 1] are white, as are those around."""
    white = (image >= 1.0).all(axis=-1)
    return ndimage.minimum_filter(white, (1, AROUND, AROUND))


def grainer(model: reading.Model, given: Pictures, seed: int = 0) -> Callable[[int], Grain]:
    """How far a base's guess of x_0 is from pictures, by the timestep whose noise they get.

    Args:
        model: its base predicts eps, v or x_0.
        given: what it is shown.
        seed: decides the noise, the same at every timestep.

    Returns:
        A function of a timestep, 0 to 999, of the diffusion that the base was trained with.
    """
    config, params = model.stages["base"]
    params = jax.device_put(params)
    network: Any = zoo.glide_model(config.model)
    schedule = schedules.from_alpha_bar(schedules.alpha_bar(config.noise_schedule))
    tokens, mask = model.tokenizer(given.captions, config.model.text_context)
    text = network.apply({"params": params}, tokens, mask, method="encode")
    image, white = jnp.asarray(given.image), paper(given.image)

    @jax.jit
    def guess(text: TextCond, i):
        s = schedule.at(i)
        eps = jax.random.normal(jax.random.key(seed), image.shape)
        x_t = samplers.q_sample(s, image, eps)
        out = network.apply({"params": params}, x_t, schedule.t[i], Cond(text)).eps
        return parameterization.x_0_of(s, x_t, out, config.prediction)

    def grain(timestep: int) -> Grain:
        steps = jnp.full(len(image), timestep)
        error = 127.5 * (np.asarray(guess(text, steps)) - given.image)
        noise = 127.5 * float(schedule.sqrt_one_minus_alpha_bar[timestep])
        spread = float(error[white].std()) if white.any() else float("nan")
        return Grain(noise, float(np.sqrt((error**2).mean())), spread)

    return grain


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", help="directories or names")
    parser.add_argument("--n", type=int, default=64, help="pictures")
    args = parser.parse_args()
    cache: pathlib.Path = cache_folder()
    given, lines = pictures("train", args.n, cache / "data"), []
    with progress("grain") as shown:
        for name in args.models:
            model = reading.read_model(reading.find_model(name, cache / "models"))
            grain = grainer(model, given)
            for timestep in TIMESTEPS:
                found = grain(timestep)
                lines.append((name, str(timestep), *(f"{value:.2f}" for value in found)))
                shown("rows", len(lines), len(args.models) * len(TIMESTEPS))
    print(table(lines, ("model", "timestep", "noise", "whole picture", "paper")))


if __name__ == "__main__":
    main()
