"""Measures how far each sampler and grid is from the converged picture; writes the table.

python launch/measure_samplers.py --model shapes --out docs/results/samplers.md
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

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import glide_jax
from glide_jax import build, cascade
from glide_jax.diffusion import samplers
from glide_jax.evaluation import convergence
from glide_jax.files import replacing
from glide_jax.types import Cond

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


def stage_table(glide, name: str, low_res, args) -> tuple[str, np.ndarray]:
    """A stage's section and its converged pictures."""
    stage, params = glide.loaded.stages[name], glide.loaded.params[name]
    n = len(PROMPTS[: args.n])
    tokens, mask = glide.loaded.tokenizer([*PROMPTS[: args.n], ""], stage.context)
    encode = lambda rows: cascade.encode_text(stage.encode, params, tokens[rows], mask[rows])
    cond = Cond(text=encode(slice(0, n)), low_res=low_res)
    how = dataclasses.replace(glide.loaded.sampling[name], guidance_scale=args.guidance_scale)
    null = None if stage.upsampler else encode(slice(n, n + 1))
    of_seed = lambda seed: convergence.drawing(
        stage, params, cascade.image_keys(seed, np.arange(n), int(stage.upsampler)), cond, null,
        build.sampling.settings(how), how.temperature,
    )  # fmt: skip
    draw, began = of_seed(0), time.time()
    converged = draw(*convergence.REFERENCE)
    another = of_seed(1)("dpmpp_2m", "logsnr", 40)
    rows = convergence.measure(
        draw, args.evaluations, args.samplers, args.grids, reference=converged
    )
    sampler, _, steps = convergence.REFERENCE
    explained = EXPLAINED.format(
        reference=steps, sampler=sampler, seeds=100 * convergence.distance(another, converged)
    )
    print(f"{name}: {time.time() - began:.0f} s", file=sys.stderr)
    table = convergence.table(rows, args.evaluations)
    return f"## {glide.loaded.name}: {name}\n\n{explained}\n\n{table}\n", converged


def main() -> None:
    """Measures every stage of every model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["shapes"], help="directories or names")
    parser.add_argument("--n", type=int, default=4, help="pictures, at most 4")
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[5, 10, 20, 40, 80])
    parser.add_argument("--samplers", nargs="+", default=list(convergence.ODE))
    parser.add_argument("--grids", nargs="+", default=list(convergence.GRIDS))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    sections = []
    for model in args.model:
        glide, low_res = glide_jax.load(model), None
        for name in glide.loaded.stages:
            section, converged = stage_table(glide, name, low_res, args)
            sections.append(section)
            low_res = samplers.quantize(jnp.asarray(converged))
    device = jax.devices()[0].device_kind or platform.machine()
    head = (
        "# Samplers: distance to the converged picture\n\n"
        f"Made by `launch/measure_samplers.py --model {' '.join(args.model)}`: {args.n} pictures "
        f"a model, guidance scale {args.guidance_scale:g} of the base, on {device}.\n"
    )
    with replacing(args.out) as temporary:
        temporary.write_text("\n".join([head, *sections]))


if __name__ == "__main__":
    main()
