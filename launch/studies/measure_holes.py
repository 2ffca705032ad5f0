"""How often an object is painted into a hole, by the hole's size and form and the margin around it.

python -m launch.studies.measure_holes --model shapes-inpaint --out docs/results/inpainting-holes.md

A plain picture has a hole, and a caption of the set names one object on this background. A result
that is in --work is not drawn again, so the command goes on where it was stopped.
"""

import argparse
import dataclasses
import itertools
import pathlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image

import glide_jax
from glide_jax import images
from glide_jax.data.readers import shapes
from glide_jax.evaluation import shapes_judge
from glide_jax.evaluation.metrics.intervals import percent, share_of
from glide_jax.evaluation.report import picture, write_page
from glide_jax.tables import table
from launch.studies import inpainting
from launch.studies.inpainting import Case

SHARES = (0.25, 0.375, 0.5, 0.75)  # a hole's side by the picture's
FORMS = ("square", "disc", "L")
MARGINS = ("0.25", "1", "8")  # the last shows the model the whole picture
_STREAM = 2**31 + 3  # a stream of random numbers apart from those of training and other studies
_RIM = 0.25  # what the judge sees around a hole, by the hole's side
MADE = """\
Made by `launch/studies/measure_holes.py --model {model} --n {n}`: plain pictures of {side} px
with a hole anywhere, {n} of each size and form. The caption names one object, with its size, in
the words of the set. The exact judge sees the hole with a rim of a quarter of its side, enlarged:
it must find one object there, of the asked colour and shape. Exact 95% intervals. An L is a square
without a quarter. A margin is what the model sees on each side of the hole, by the hole's longer
side; 8 is the whole picture. Every pixel outside the hole is the given one in all {total} results.
Preset {preset}, guidance scale {scale}, seed {seed}."""


def holes(share: float, form: str, n: int, side: int, seed: int = 0) -> list[Case]:
    """The first n cases of a size and form.

    Args:
        share: the hole's side by the picture's, above 0 to 1.
        form: one of FORMS; an L is a square without its upper right quarter.
        n: number of cases.
        side: pixels a side of the picture.
        seed: for places, colours and shapes.
    """
    cases = []
    for i in range(n):
        rng = np.random.default_rng((_STREAM, seed, round(share * 1000), FORMS.index(form), i))
        scene = shapes.sample_scene(rng, split="all", kinds=("single",))
        empty = shapes.render(dataclasses.replace(scene, objects=()), side)
        extent = round(share * side)
        top, left = (int(low) for low in rng.integers(0, side - extent + 1, 2))
        painted = np.zeros((side, side), bool)
        painted[top : top + extent, left : left + extent] = _form(form, extent)
        wanted = scene.objects[0]
        cases.append(Case(empty, painted, shapes.caption(scene), (wanted.colour, wanted.shape)))
    return cases


def _form(form: str, extent: int) -> np.ndarray:
    y, x = np.indices((extent, extent)) + 0.5
    if form == "disc":
        return np.hypot(y - extent / 2, x - extent / 2) <= extent / 2
    return (
        np.full((extent, extent), True) if form == "square" else (y > extent / 2) | (x < extent / 2)
    )


def seen(case: Case, result: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s s 3"]:
    """The hole of a result on the picture's background, with a rim, as the judge sees it."""
    rows, columns = (np.flatnonzero(case.painted.any(axis)) for axis in (1, 0))
    hole = result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rim = round(_RIM * len(hole))
    around = np.empty((len(hole) + 2 * rim,) * 2 + (3,), np.uint8)
    around[:] = case.image[0, 0]
    around[rim:-rim, rim:-rim] = hole
    size = max(64, len(around))
    return np.asarray(Image.fromarray(around).resize((size, size), Image.Resampling.BICUBIC))


def is_right(case: Case, result: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether the hole holds one object, of the asked colour and shape."""
    objects = shapes_judge.judge(seen(case, result)).objects
    return [(o.colour, o.shape) for o in objects] == [case.asked]


def main() -> None:
    """Draws what is missing, judges everything, writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shapes-inpaint")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/holes"))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    glide = glide_jax.load(args.model)
    options = dict(
        preset=args.preset, guidance_scale=args.guidance_scale, seed=args.seed, upsample=True
    )
    rows, shown = [], []
    for share, form in itertools.product(SHARES, FORMS):
        cases = holes(share, form, args.n, args.side, args.seed)
        cells = []
        for margin in MARGINS:
            name = f"{form}-{share:g}-{margin}"
            results, _ = inpainting.painted(glide, cases, args.work / name, options, margin=margin)
            pairs = list(zip(cases, results, strict=True))
            assert all(inpainting.kept(*pair) for pair in pairs), f"{name} changed pixels outside"
            found = sum(is_right(*pair) for pair in pairs)
            cells.append(percent(share_of(found, args.n)))
            shown.append([cases[0].erased, *results[:3]])
        rows.append((form, f"{share:g}", *cells))
    sheet = args.out.with_suffix(".png")
    tiles = [np.hstack(line) for line in shown]
    small = Image.fromarray(np.vstack(tiles)).reduce(args.side // 64)
    images.write_png(sheet, small, {})
    about = MADE.format(
        model=args.model, n=args.n, side=args.side, total=len(rows) * len(MARGINS) * args.n,
        preset=args.preset, scale=f"{args.guidance_scale:g}", seed=args.seed,
    )  # fmt: skip
    heads = ("hole", "side", *(f"margin {margin}, %" for margin in MARGINS))
    lines = (
        "A line for each hole and margin in the table's order: the first hole, and the results of "
        "the first three."
    )
    write_page(
        args.out, "Inpainting by the size and form of the hole",
        [about, table(rows, heads), "## The first of each", lines, picture(sheet.name, "results")],
    )  # fmt: skip


if __name__ == "__main__":
    main()
