"""How much of what emoji look like a model's text knows, and how much of that its UNet reads.

python -m launch.studies.measure_sketches emoji runs/emoji_64-words/model --sheet sketches.png

From the pooled text of each training caption, through the nonlinearity that stands before it in the
UNet, a ridge regression draws the picture in 16 x 16 pixels. The table says which part of the small
pictures' variance it explains, on captions that it was fitted on and on withheld ones; 0 is the
mean picture. A second row says the same of the whole base's first guess, the x_0 that it predicts
where there is nothing but noise: where that explains as much, the base reads its text to the end,
and it is the text that has more to learn. The sheet has a row for each model, drawn by the ridge
regression from prompts of no split.
"""

import argparse
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glide_jax import images
from glide_jax.data import catalogue
from glide_jax.data.readers.emoji_views import Named
from glide_jax.data.recipes import emoji
from glide_jax.diffusion import parameterization, schedules
from glide_jax.model_dir import reading
from glide_jax.networks import zoo
from glide_jax.tables import table
from glide_jax.training import sketching
from glide_jax.types import Cond
from launch.studies.shared import cache_folder, progress

SPLITS = emoji.SPLITS[::-1]
PROMPTS = ("red apple", "grinning face", "cat face", "sailboat", "guitar", "umbrella", "rocket")
RIDGE = 1.0  # added to the captions' sums of squares
_AT_ONCE = 256

Floats = NDArray[np.floating]


class Captioned(NamedTuple):
    """Small pictures, (n, 768) in [-1, 1], and a caption of each that names its style."""

    small: Floats
    captions: list[str]


def captioned(split: str, data: pathlib.Path) -> Captioned:
    """A split of the flat emoji."""
    source = Named(catalogue.open_source(catalogue.FLAT, split=split, data_dir=data))
    found = [source[i] for i in range(len(source))]
    pixels = images.from_uint8(np.stack([example.image for example in found]))
    return Captioned(
        np.asarray(sketching.small(jnp.asarray(pixels))).reshape(len(pixels), -1),
        [example.captions[1] for example in found],
    )


def reader(model: reading.Model) -> Callable[[list[str]], Floats]:
    """What a base's blocks see of captions: silu of the pooled text and a constant, (n, e + 1)."""
    config, params = model.stages["base"]
    network: Any = zoo.glide_model(config.model)
    params = jax.device_put(params)

    @jax.jit
    def seen(tokens, mask, part):
        pooled = network.apply({"params": params}, tokens, mask, method="encode").pooled
        return jax.nn.silu(pooled)

    def read(captions: list[str]) -> Floats:
        rows = _in_parts(model, seen, captions).astype(np.float64)
        return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)

    return read


def fitted(seen: Floats, small: Floats) -> Floats:
    """The weights (e + 1, 768) of the ridge regression."""
    return np.linalg.solve(seen.T @ seen + RIDGE * np.eye(seen.shape[1]), seen.T @ small)


def explained(guessed: Floats, small: Floats, mean: Floats) -> float:
    """The part of the variance about the mean picture that is explained: 1 is all, 0 none.

    Args:
        guessed: small pictures that stand for captions, (n, 768).
        small: the captions' own.
        mean: the mean picture of training.
    """
    return float(1 - ((guessed - small) ** 2).mean() / ((small - mean) ** 2).mean())


def guesser(model: reading.Model, seed: int = 0) -> Callable[[list[str]], Floats]:
    """The x_0 that a base predicts for captions from noise alone, at the last timestep: (n, 768).

    Args:
        model: its base predicts eps, v or x_0.
        seed: decides the noise.
    """
    config, params = model.stages["base"]
    network: Any = zoo.glide_model(config.model)
    params = jax.device_put(params)
    schedule = schedules.from_alpha_bar(schedules.alpha_bar(config.noise_schedule))
    last = jnp.full(_AT_ONCE, schedule.num_steps - 1)
    size = config.model.image_size

    @jax.jit
    def guess(tokens, mask, part):
        text = network.apply({"params": params}, tokens, mask, method="encode")
        key = jax.random.fold_in(jax.random.key(seed), part)
        x_t = jax.random.normal(key, (_AT_ONCE, size, size, 3))
        out = network.apply({"params": params}, x_t, schedule.t[last], Cond(text)).eps
        x_0 = parameterization.x_0_of(schedule.at(last), x_t, out, config.prediction)
        return sketching.small(x_0).reshape(_AT_ONCE, -1)

    return lambda captions: _in_parts(model, guess, captions)


def _in_parts(
    model: reading.Model, compute: Callable[..., jax.Array], captions: list[str]
) -> Floats:
    """The rows of `compute` for captions, of which it is given _AT_ONCE at a time.

    Args:
        model: its base says how captions become tokens.
        compute: (tokens, mask, number of the first caption) to a row for each.
        captions: n of them.
    """
    context, rows = model.stages["base"][0].model.text_context, []
    for k in range(0, len(captions), _AT_ONCE):
        part = captions[k : k + _AT_ONCE]
        part += [""] * (_AT_ONCE - len(part))  # one shape, one program
        rows.append(compute(*model.tokenizer(part, context), k))
    return np.concatenate(rows)[: len(captions)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", help="directories or names")
    parser.add_argument("--sheet", type=pathlib.Path, help="a PNG of sketches to write")
    args = parser.parse_args()
    cache, lines, drawn = cache_folder(), [], []
    given = {split: captioned(split, cache / "data") for split in SPLITS}
    mean = given["train"].small.mean(axis=0)
    with progress("sketches") as shown:
        for name in args.models:
            model = reading.read_model(reading.find_model(name, cache / "models"))
            read, guess = reader(model), guesser(model)
            seen = {split: read(given[split].captions) for split in SPLITS}
            weights = fitted(seen["train"], given["train"].small)
            ways = {
                "text": [seen[split] @ weights for split in SPLITS],
                "first guess": [guess(given[split].captions) for split in SPLITS],
            }
            for way, guesses in ways.items():
                pairs = zip(guesses, SPLITS, strict=True)
                parts = [explained(guess, given[split].small, mean) for guess, split in pairs]
                lines.append((name, way, *(f"{part:.3f}" for part in parts)))
            prompts = [f"a twemoji emoji of {prompt}" for prompt in PROMPTS]
            side = sketching.SIDE
            drawn.append((read(prompts) @ weights).reshape(-1, side, side, 3))
            shown("models", len(drawn), len(args.models))
    print(table(lines, ("model", "by", *SPLITS)))
    if args.sheet:
        rows = [np.concatenate(list(row), axis=1) for row in drawn]
        whole = np.clip((np.concatenate(rows) + 1) * 127.5, 0, 255).round().astype(np.uint8)
        large = Image.fromarray(whole.repeat(4, axis=0).repeat(4, axis=1))
        images.write_png(args.sheet, large, {"models": args.models, "prompts": list(PROMPTS)})


if __name__ == "__main__":
    main()
