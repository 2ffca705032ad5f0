"""Measures how far each sampler and grid is from the converged picture; writes the table.

    python -m launch.studies.measure_samplers --model shapes --out docs/results/samplers.md

`--model random` is networks of the released sizes at random weights: they draw nothing, but how
the steps' errors and rounding add up in wide networks shows on them.
"""

import argparse
import dataclasses
import pathlib
import platform
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import glide_jax
from glide_jax.benchmarks import bench, networks
from glide_jax.diffusion import samplers
from glide_jax.files import replacing
from glide_jax.sampling import cascade, loading
from glide_jax.types import Cond
from launch.studies import convergence

PROMPTS = (
    "a large red circle on a white background",
    "two blue stars on a black background",
    "a small green square left of a yellow ring",
    "three purple triangles on a gray background",
)
EXPLAINED = """\
Root mean square distance, in percent of the pixels' standard deviation, to the pictures that
{reference} steps of {sampler} reach from the same noise, against evaluations of the network (two a
step for heun). Two seeds' pictures of one prompt are {seeds:.0f} apart. `respaced` is the released
models' even respacing, which starts at the last timestep; the other grids start where lambda is at
least -5.1."""


def random_model(stages: list[str]) -> loading.Loaded:
    """The released networks at random weights; the tokens are those of the box."""
    loads = bench.loads(None, pathlib.Path(), stages)
    parts = {name: networks.part(name, *load(), "float32", "auto") for name, load in loads.items()}
    return dataclasses.replace(
        glide_jax.load("shapes").loaded,
        name="random weights of the released size",
        stages={name: part.stage for name, part in parts.items()},
        sampling={name: part.config.sampling for name, part in parts.items()},
        configs={name: part.config for name, part in parts.items()},
        params={name: part.params for name, part in parts.items()},
    )


def stage_table(loaded: loading.Loaded, name: str, low_res, args) -> tuple[str, np.ndarray]:
    """A stage's section and its converged pictures.

    Args:
        loaded: the model.
        name: the stage.
        low_res: pictures to enlarge, for an upsampler.
        args: the command line.
    """
    stage, params = loaded.stages[name], loaded.params[name]
    n = len(PROMPTS[: args.n])
    tokens, mask = loaded.tokenizer([*PROMPTS[: args.n], ""], stage.context)
    encode = lambda rows: cascade.encode_text(stage.encode, params, tokens[rows], mask[rows])
    cond = Cond(text=encode(slice(0, n)), low_res=low_res)
    how = dataclasses.replace(loaded.sampling[name], guidance_scale=args.guidance_scale)
    null = None if stage.upsampler else encode(slice(n, n + 1))
    of_seed = lambda seed: convergence.drawing(
        stage, params, cascade.image_keys(seed, np.arange(n), int(stage.upsampler)), cond, null,
        how,
    )  # fmt: skip
    draw, began = of_seed(0), time.time()
    reference = (*convergence.REFERENCE[:2], args.reference_steps)
    converged = draw(*reference)
    another = of_seed(1)("dpmpp_2m", "logsnr", 40)
    rows = convergence.measure(
        draw, args.evaluations, args.samplers, args.grids, reference=converged
    )
    explained = EXPLAINED.format(
        reference=reference[2],
        sampler=reference[0],
        seeds=100 * convergence.distance(another, converged),
    )
    print(f"{name}: {time.time() - began:.0f} s", file=sys.stderr)
    table = convergence.distance_table(rows, args.evaluations)
    return f"## {loaded.name}: {name}\n\n{explained}\n\n{table}\n", converged


def main() -> None:
    """Measures every stage of every model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["shapes"], help="directories, names, random")
    stages = ["base", "upsample"]  # the base first: what it draws is enlarged
    parser.add_argument("--stages", nargs="+", default=stages, choices=stages)
    parser.add_argument("--n", type=int, default=4, help="pictures, at most 4")
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[5, 10, 20, 40, 80])
    parser.add_argument("--reference-steps", type=int, default=convergence.REFERENCE[2])
    parser.add_argument("--samplers", nargs="+", default=list(convergence.ODE))
    parser.add_argument("--grids", nargs="+", default=list(convergence.GRIDS))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    sections = []
    for model in args.model:
        loaded = random_model(args.stages) if model == "random" else glide_jax.load(model).loaded
        low_res = None
        for name in (name for name in loaded.stages if name in args.stages):
            section, converged = stage_table(loaded, name, low_res, args)
            sections.append(section)
            low_res = samplers.quantize(jnp.asarray(converged))
    device = jax.devices()[0].device_kind or platform.machine()
    head = (
        "# Samplers: distance to the converged picture\n\n"
        f"Made by `launch/studies/measure_samplers.py {' '.join(sys.argv[1:])}`:\n"
        f"{args.n} pictures a model, guidance scale {args.guidance_scale:g} of the base, "
        f"on {device}.\n"
    )
    with replacing(args.out) as temporary:
        temporary.write_text("\n".join([head, *sections]))


if __name__ == "__main__":
    main()
