"""The error of a base's prediction on emoji that training showed, and on such as it withheld.

python -m launch.studies.measure_errors emoji runs/emoji_64-named-x0/model

Every model is given the same pictures, timesteps and noise, and captions that name the style. The
error is that of v, whatever a model predicts, by quartile of the timestep: q0 has the clean ones. A
model that learns its pictures by heart has smaller errors on those that it was shown.
"""

import argparse
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import images
from glide_jax.data import catalogue
from glide_jax.data.recipes import emoji
from glide_jax.data.transforms import center_crop
from glide_jax.diffusion import schedules
from glide_jax.evaluation.protocols import choose
from glide_jax.model_dir import reading
from glide_jax.networks import zoo
from glide_jax.tables import table
from glide_jax.training import objectives
from glide_jax.types import Cond, TextCond
from launch.studies.shared import cache_folder, progress

SPLITS = emoji.SPLITS[::-1]
LEVELS = 16  # timesteps at which each picture is seen, evenly over the chain


class Pictures(NamedTuple):
    """Pictures in [-1, 1], (n, 64, 64, 3), and a caption of each that names its style."""

    image: np.ndarray
    captions: list[str]


def pictures(split: str, n: int, data_dir: pathlib.Path) -> Pictures:
    """The first n pictures of a split, in an order that their names' sums decide."""
    source = catalogue.open_source(catalogue.FLAT, split=split, data_dir=data_dir)
    examples = [source[i] for _, i in choose(split, source, n)]
    image = np.stack([center_crop(example.image, 64) for example in examples])
    return Pictures(images.from_uint8(image), [example.captions[1] for example in examples])


def errors(model: reading.Model, given: Pictures, seed: int = 0) -> np.ndarray:
    """The mean error of v by quartile of the timestep, (4,).

    Args:
        model: its base predicts eps, v or x_0.
        given: what it is shown.
        seed: decides the noise.
    """
    config, params = model.stages["base"]
    params = jax.device_put(params)
    network: Any = zoo.glide_model(config.model, jnp.float32)
    schedule = schedules.from_alpha_bar(schedules.alpha_bar(config.noise_schedule))
    tokens, mask = model.tokenizer(given.captions, config.model.text_context)

    @jax.jit
    def at(image, text: TextCond, i, key):
        denoise = lambda x_t, t: network.apply({"params": params}, x_t, t, Cond(text))
        eps = jax.random.normal(key, image.shape)
        return objectives.hybrid_loss(
            denoise, schedule, image, i, eps, prediction=config.prediction
        )[0].mse

    encode = jax.jit(lambda *a: network.apply({"params": params}, *a, method="encode"))
    text, total = encode(tokens, mask), []
    for level in range(LEVELS):
        i = jnp.full(len(given.image), int((level + 0.5) * schedule.num_steps / LEVELS))
        key = jax.random.fold_in(jax.random.key(seed), level)
        total.append(np.mean(at(given.image, text, i, key)))
    return np.reshape(total, (4, -1)).mean(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", help="directories or names")
    parser.add_argument("--n", type=int, default=96, help="pictures of each split")
    args = parser.parse_args()
    cache, lines = cache_folder(), []
    given = {split: pictures(split, args.n, cache / "data") for split in SPLITS}
    with progress("errors") as shown:
        for name in args.models:
            model = reading.read_model(reading.find_model(name, cache / "models"))
            for split in SPLITS:
                found = errors(model, given[split])
                lines.append((name, split, *(f"{value:.4f}" for value in found)))
                shown("rows", len(lines), len(args.models) * len(SPLITS))
    print(table(lines, ("model", "pictures", "q0", "q1", "q2", "q3")))


if __name__ == "__main__":
    main()
