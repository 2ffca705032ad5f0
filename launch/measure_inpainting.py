"""How well an erased object of a scene comes back, by three ways to inpaint: a table and a sheet.

python launch/measure_inpainting.py --model shapes --inpaint runs/shapes_64_inpaint/model \
    --out docs/results/inpainting.md

Scenes hold combinations that training withholds. A picture that is in --work is not drawn again, so
the command goes on where it was stopped.
"""

import argparse
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import glide_jax
from glide_jax import editing, images
from glide_jax.evaluation import drawing, inpainting, report
from glide_jax.evaluation.inpainting import Case, Outcome
from glide_jax.evaluation.shapes_report import percent, share

HEAD = ("way", "object, %", "colour, %", "shape, %", "whole caption, %", "seam, mean",
        "seam, largest", "seam <= 1.1", "outside identical", "s a picture")  # fmt: skip
ABOUT = """\
Made by `launch/measure_inpainting.py --model {model}{inpaint}`: {n} scenes with colours and shapes
(or numbers of them) that training withholds. A box around one object, {margin:.0%} of the side
beyond its outline, is painted anew from the caption of the whole scene; no other object reaches
into it.

An object counts if the exact judge finds one object in the box, of the erased one's colour and
shape; exact 95% intervals. The seam is the mean jump between neighbouring pixels across the box's
border by that of neighbours inside (1 shows no more than the rest, the bar is 1.1). Every pixel
outside is compared with the input. Preset {preset}, guidance scale {scale}, seed {seed}, a picture
at a time (seconds are of those drawn in the last sitting). RePaint walks each stretch of {jump}
steps {repeats} times. "True picture" is what the judge says of the scenes themselves."""


def draw(
    name: str, glide: Any, cases: Sequence[Case], work: pathlib.Path, args: Any, **how: Any
) -> tuple[list[np.ndarray], float | None]:
    """Results of all cases, drawn if they are not there, and the median seconds of the drawn."""
    results, seconds = [], []
    options = dict(
        preset=args.preset, guidance_scale=args.guidance_scale, seed=args.seed, upsample=False
    )
    for i, case in enumerate(tqdm(cases, desc=name, unit=" pictures")):
        path = work / name / f"{i:04d}.png"
        edit = editing.inpainting(
            glide, Image.fromarray(case.image), case.mask, upsample=False, **how
        )
        options["first_index"] = i
        [expected] = glide.parameters(case.caption, edit=edit, **options)
        if not drawing.is_there(path, expected):
            began = time.perf_counter()
            [picture] = glide(case.caption, edit=edit, **options)
            seconds.append(time.perf_counter() - began)
            images.write_png(path, picture.image, picture.parameters)
        results.append(np.asarray(images.read(path)))
    return results, float(np.median(seconds)) if seconds else None


def row_of(name: str, outcomes: Sequence[Outcome], seconds: float | None) -> tuple:
    """A way's results as a row of the table."""
    n = len(outcomes)
    right = lambda aspect: sum(getattr(outcome, aspect) for outcome in outcomes)
    seams = [outcome.seam for outcome in outcomes]
    kept = sum(outcome.kept for outcome in outcomes)
    return (
        name,
        *(percent(share(right(aspect), n)) for aspect in ("object", "colour", "shape", "whole")),
        f"{np.mean(seams):.2f}",
        f"{max(seams):.2f}",
        f"{sum(seam <= 1.1 for seam in seams)} of {n}",
        f"{kept} of {n}",
        "" if seconds is None else f"{seconds:.2f}",
    )


def sheet(path: pathlib.Path, cases: Sequence[Case], ways: dict[str, list[np.ndarray]]) -> None:
    """The first cases, none left out: what was given and what each way made of it, a line each."""
    side, gap = 96, 6
    columns = 1 + len(ways)
    canvas = np.full((len(cases) * (side + gap) + gap, columns * (side + gap) + gap, 3), 255)
    for i, case in enumerate(cases):
        for k, pixels in enumerate([case.erased, *(results[i] for results in ways.values())]):
            large = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
            y, x = gap + i * (side + gap), gap + k * (side + gap)
            canvas[y : y + side, x : x + side] = np.asarray(large)
    images.write_png(path, Image.fromarray(np.uint8(canvas)), {"columns": ["given", *ways]})


def main() -> None:
    """Draws what is missing, judges everything, writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shapes", help="a base without inpainting planes")
    parser.add_argument("--inpaint", help="directory of its fine-tuned inpainting version")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--shown", type=int, default=8, help="cases on the sheet")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--jump", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/inpainting"))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    base = glide_jax.load(args.model)
    cases = list(inpainting.cases(args.n, size=base.sizes["base"]))
    drawn = {}
    if args.inpaint:
        tuned = glide_jax.load(args.inpaint)
        drawn["inpainting model"] = draw("model", tuned, cases, args.work, args)
    drawn["known pixels"] = draw("known", base, cases, args.work, args)
    repaint = dict(repeats=args.repeats, jump=args.jump)
    drawn["RePaint"] = draw("repaint", base, cases, args.work, args, **repaint)
    true = [inpainting.outcome(case, case.image) for case in cases]
    rows = [row_of("true picture", true, None)]
    for name, (results, seconds) in drawn.items():
        outcomes = [inpainting.outcome(c, r) for c, r in zip(cases, results, strict=True)]
        assert all(outcome.kept for outcome in outcomes), f"{name} changed pixels outside"
        rows.append(row_of(name, outcomes, seconds))
    picture = args.out.with_suffix(".png")
    shown = cases[: args.shown]
    sheet(picture, shown, {name: results for name, (results, _) in drawn.items()})
    about = ABOUT.format(
        model=args.model, inpaint=f" --inpaint {args.inpaint}" if args.inpaint else "", n=args.n,
        margin=inpainting.MARGIN, preset=args.preset, scale=f"{args.guidance_scale:g}",
        seed=args.seed, jump=args.jump, repeats=args.repeats,
    )  # fmt: skip
    captions = "\n".join(f"{i + 1}. {case.caption}" for i, case in enumerate(shown))
    columns = ", ".join(["given", *drawn])
    blocks = [
        report.Text(about),
        report.Table(HEAD, rows),
        report.Heading("The first cases, none left out"),
        report.Text(f"From left to right: {columns}."),
        report.Picture(picture.name, columns),
        report.Text(captions),
    ]
    report.page(args.out, "Inpainting of shapes", blocks)


if __name__ == "__main__":
    main()
