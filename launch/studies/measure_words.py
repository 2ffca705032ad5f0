"""How much a model uses its caption at each timestep: a table of errors.

python -m launch.studies.measure_words [--model shapes] [--kind single] [--n 128]
python -m launch.studies.measure_words --model emoji --data emoji [--split train]

The mean squared error of what the network predicts on scenes of a kind, and by how much it grows
when the caption names another shape, another colour, or nothing; of two objects also when it gives
each the other's shape, or names them in the other order; of other data when it has the caption of
another picture. Last, the error of x_0, of pictures in [-1, 1]. Where a word changes little, either
the picture shows it or the model does not know it.
"""

import argparse
import dataclasses
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import images
from glide_jax.data import catalogue
from glide_jax.data.readers import shapes
from glide_jax.diffusion import samplers, schedules
from glide_jax.model_dir import reading
from glide_jax.sampling import loading
from glide_jax.tables import table
from glide_jax.types import Cond
from launch.studies.shared import cache_folder

Texts: TypeAlias = dict[str, list[str]]

TIMESTEPS = (100, 300, 500, 700, 800, 850, 900, 950, 985, 998)


def other(spec: shapes.Spec, what: str) -> shapes.Spec:
    """The caption's scene with other words: the next shapes, the third next colours, exchanges."""
    after = lambda names, name, by: tuple(names)[(tuple(names).index(name) + by) % len(names)]
    first, last = spec.objects[0], spec.objects[-1]
    objects = {
        "another shape": [(c, after(shapes.SHAPES, s, 1)) for c, s in spec.objects],
        "another colour": [(after(shapes.COLOURS, c, 3), s) for c, s in spec.objects],
        "shapes exchanged": [(first[0], last[1]), (last[0], first[1])],
        "order exchanged": [last, first],
    }[what]
    return dataclasses.replace(spec, objects=tuple(objects))


def of_shapes(args: argparse.Namespace, side: int) -> tuple[list[np.ndarray], Texts]:
    """Scenes of a kind; captions that say something else of them."""
    draw = lambda i: shapes.sample_scene(np.random.default_rng((7, i)), kinds=(args.kind,))
    scenes = [draw(i) for i in range(args.n)]
    specs = [scene.spec for scene in scenes]
    changes = ["another shape", "another colour"]
    if args.kind not in ("single", "count"):
        changes += ["shapes exchanged", "order exchanged"]
    texts = {"right": [shapes.caption(spec) for spec in specs]}
    texts |= {change: [shapes.caption(other(s, change)) for s in specs] for change in changes}
    return [shapes.render(s, side) for s in scenes], texts | {"no caption": [""] * args.n}


def of_data(args: argparse.Namespace, side: int) -> tuple[list[np.ndarray], Texts]:
    """Pictures of a set, by chance; another's caption is the next one's."""
    source = catalogue.open_source(
        args.data, split=args.split, image_size=side, data_dir=cache_folder() / "data"
    )
    chosen = np.random.default_rng(7).choice(len(source), args.n, replace=False).tolist()
    examples = [source[i] for i in chosen]
    right = [example.captions[0] for example in examples]
    texts = {"right": right, "another's caption": right[1:] + right[:1]}
    return [example.image for example in examples], texts | {"no caption": [""] * args.n}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shapes")
    parser.add_argument("--kind", choices=(*shapes.KINDS, *shapes.RELATIONS), default="single")
    parser.add_argument("--n", type=int, default=128)
    parser.add_argument("--data", help="a built set such as emoji, in place of new shapes")
    parser.add_argument("--split", default="train", help="of --data")
    args = parser.parse_args()
    found = loading.load(reading.find_model(args.model, cache_folder() / "models"))
    stage, params = found.stages["base"], found.params["base"]
    schedule = schedules.from_alpha_bar(stage.alpha_bar)
    pictures, texts = (of_data if args.data else of_shapes)(args, stage.image_size)
    x_0 = images.from_uint8(np.stack(pictures))
    eps = jnp.float32(np.random.default_rng(5).standard_normal(x_0.shape))

    @jax.jit
    def errors(params, i, tokens, mask):
        s = schedule.at(i)
        cond = Cond(stage.encode(params, tokens, mask))
        out = stage.network(params)(samplers.q_sample(s, x_0, eps), schedule.t[i], cond)
        mse, alpha_bar = ((out.eps - eps) ** 2).mean(), s.alpha_bar.mean()
        # The stage gives eps, whatever its network predicts; of v and x_0 the errors follow.
        return mse / alpha_bar, mse * (1.0 - alpha_bar) / alpha_bar

    rows = []
    for t in TIMESTEPS:
        i = np.full(args.n, t)
        tokens = {name: found.tokenizer(text, stage.context) for name, text in texts.items()}
        of = {n: [float(e) for e in errors(params, i, *tokens[n])] for n in texts}
        right, x_0_error = of["right"]
        grown = [f"{of[n][0] - right:+.4f}" for n in list(texts)[1:]]
        rows.append((t, f"{right:.4f}", *grown, f"{x_0_error:.4f}"))
    head = ("t", "error of v", *list(texts)[1:], "error of x_0")
    print(table(rows, head))


if __name__ == "__main__":
    main()
