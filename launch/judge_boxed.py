"""Draws captions with a shapes model and counts, by an exact judge, what came out right.

python launch/judge_boxed.py --n 50 --guidance-scale 3 --out docs/results/shapes.json
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import glide_jax
from glide_jax.data.sources import shapes
from glide_jax.evaluation import shapes_judge
from glide_jax.files import replacing

ASPECTS = ("count", "background", "colours", "shapes", "binding", "relation", "size")


def captions(kind: str, split: str, n: int) -> list[str]:
    """The first n different captions of a kind, drawn as in training but from another stream."""
    out: dict[str, None] = {}
    rng = np.random.default_rng(2**31)
    while len(out) < n:
        scene = shapes.sample_scene(rng, split=split)
        if scene.kind == kind:
            out[shapes.caption(scene)] = None
    return list(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shapes")
    parser.add_argument("--n", type=int, default=50, help="captions of each kind and split")
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    parser.add_argument("--steps", default=None)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    glide, began, table = glide_jax.load(args.model), time.time(), {}
    groups = [(kind, split) for split in ("train", "held_out") for kind in shapes.KINDS]
    texts = {group: captions(*group, args.n) for group in groups}
    every = [text for group in groups for text in texts[group]]
    options = dict(guidance_scale=args.guidance_scale, steps=args.steps, batch_size=16)
    pictures = glide.pictures(every, upsample=False, **options)
    verdicts = [
        shapes_judge.check(picture.array, picture.parameters["prompt"])
        for picture in tqdm(pictures, total=len(every), unit="picture")
    ]
    for k, (kind, split) in enumerate(groups):
        mine = verdicts[k * args.n : (k + 1) * args.n]
        right = {"all": sum(verdict.all for verdict in mine)}
        for aspect in ASPECTS:
            values = [getattr(verdict, aspect) for verdict in mine]
            if None not in values:
                right[aspect] = int(sum(values))
        table[f"{split}/{kind}"] = right
        shown = "  ".join(f"{name} {100 * count / args.n:.0f}" for name, count in right.items())
        print(f"{split:9} {kind:9} {shown}")
    result = {
        "n": args.n, "guidance_scale": args.guidance_scale, "steps": args.steps,
        "seconds": round(time.time() - began), "right": table,
    }  # fmt: skip
    with replacing(args.out) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
