"""How far each metric moves when pictures are spoilt on purpose: docs/results/planted-defects.md.

python -m launch.studies.planted_defects --data-dir DATA --out docs/results/planted-defects.md

Sound pictures are `n` of a built emoji set's train split, the reference as many others of it, both
64 pixels. It needs the built set and the package of the extractor.
"""

import argparse
import hashlib
import pathlib

import numpy as np

from glide_jax.data import catalogue
from glide_jax.data.readers import shapes
from glide_jax.evaluation import distances, shapes_judge
from glide_jax.evaluation.features.extractor import collect, extract
from glide_jax.evaluation.features.known import open_features
from glide_jax.evaluation.report import write_page
from glide_jax.tables import table
from launch.studies import defects

COLUMNS = ("frechet_distance", "spatial_frechet_distance", "kernel_distance", "class_score",
           "precision", "recall")  # fmt: skip


def emoji(data_dir: pathlib.Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint sets of n pictures, chosen by the sums of their names."""
    source = catalogue.open_source("emoji", data_dir=data_dir, image_size=64)
    order = sorted(range(len(source)), key=lambda i: hashlib.sha256(str(i).encode()).digest())
    pictures = np.stack([source[i].image for i in order[: 2 * n]])
    return pictures[:n], pictures[n:]


def judged(n: int) -> tuple[np.ndarray, list[str]]:
    """Exact pictures of the shapes set with their captions."""
    scenes = [shapes.sample_scene(np.random.default_rng((7, i)), split="all") for i in range(n)]
    return np.stack([shapes.render(s) for s in scenes]), [shapes.caption(s) for s in scenes]


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    extractor = open_features("efficientnet-lite0", args.data_dir)
    sound, others = emoji(args.data_dir, args.n)
    scenes, captions = judged(args.n)
    summarise = lambda x: collect(extract(extractor, x, batch_size=20))
    reference, rows = summarise(others), []
    for defect in defects.DEFECTS:
        found = distances.compare_sets(extractor, summarise(defect.spoil(sound)), reference)
        pairs = zip(defect.spoil(scenes), defect.mislabel(captions), strict=True)
        right = [shapes_judge.judge_caption(picture, caption).all for picture, caption in pairs]
        numbers = [round(found[name], 4) for name in COLUMNS]
        rows.append((defect.name, *numbers, round(100 * float(np.mean(right)), 1)))
        print(*rows[-1], sep="  ", flush=True)
    head = ("defect", *(name.replace("_", " ") for name in COLUMNS), "judge, % right")
    about = (
        f"{args.n} emoji of 64 pixels next to {args.n} others, features of "
        f"{extractor.name} (package sha256 {extractor.sha256[:16]}...); the judge's column is of "
        f"{args.n} exact pictures of the shapes set. Kernel distances are not scaled. With fewer "
        "pictures than the 1280 dimensions, Fréchet distances are biased upwards: compare rows, "
        "not with other tables."
    )
    write_page(args.out, "Planted defects", [about, table(rows, head)])


if __name__ == "__main__":
    main()
