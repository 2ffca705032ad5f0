"""How well an erased part of a picture comes back, by three ways to inpaint: a table and a sheet.

python -m launch.studies.measure_inpainting --model shapes --inpaint runs/shapes_64_inpaint/model \
    --out docs/results/inpainting.md
python -m launch.studies.measure_inpainting --data emoji --n 33 --model emoji \
    --inpaint MODEL --out PAGE.md

Pictures are ones that training withholds. A result that is in --work is not drawn again, so the
command goes on where it was stopped.
"""

import argparse
import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

import glide_jax
from glide_jax import images
from glide_jax.evaluation import protocols
from glide_jax.evaluation.metrics.intervals import percent, share_of
from glide_jax.evaluation.report import picture, write_page
from glide_jax.tables import table
from launch.studies import inpainting, seams
from launch.studies.inpainting import Case

SEAM = ("seam, mean", "seam, largest", "seam <= 1.1", "outside identical", "s a picture")
MADE = """\
Made by `launch/studies/measure_inpainting.py{data} --model {model}{inpaint}{size}`: {n} {pictures}

{judged} The seam is the mean jump between neighbouring pixels across the box's
border by that of neighbours inside (1 shows no more than the rest, the bar is 1.1). Every pixel
outside is compared with the input. Pictures of {px} px, preset {preset}, guidance scale {scale},
seed {seed}, a picture at a time (seconds are of those drawn in the last sitting). RePaint walks
each stretch of {jump} steps {repeats} times."""


class Data(NamedTuple):
    """The cases of a kind of pictures, and the measures of their results."""

    cases: Callable[[int, int], list[Case]]  # (number of cases, pixels a side)
    pictures: str
    judged: str
    head: tuple[str, ...]
    cells: Callable[
        [Sequence[Case], Sequence[np.ndarray]], list[str]
    ]  # one cell for each column in `head`
    extra: dict[str, Callable[[Case], np.ndarray]]  # rows to compare with, by name


def of_emoji(n: int, size: int) -> list[Case]:
    """Emoji of withheld pairs and concepts, n of each."""
    protocol = protocols.open_protocol("emoji", n=n)
    pairs = zip(protocol.prompts, protocol.groups, protocol.reference(size), strict=True)
    by_group: dict[str, list] = {}
    for caption, group, image in pairs:
        by_group.setdefault(group, []).append((caption, image))
    in_turn = zip(by_group["held_out_pairs"], by_group["held_out_concepts"], strict=True)
    captions, pictures = zip(*itertools.chain.from_iterable(in_turn), strict=True)
    return list(inpainting.boxes(pictures, captions))


def shapes_cells(cases: Sequence[Case], results: Sequence[np.ndarray]) -> list[str]:
    """Shares of cases in which the judge finds the object, its colour and so on."""
    outcomes = [inpainting.outcome(c, r) for c, r in zip(cases, results, strict=True)]
    right = lambda aspect: sum(getattr(outcome, aspect) for outcome in outcomes)
    aspects = ("object", "colour", "shape", "whole")
    return [percent(share_of(right(aspect), len(cases))) for aspect in aspects]


def emoji_cells(cases: Sequence[Case], results: Sequence[np.ndarray]) -> list[str]:
    """How far from what was there."""
    errors = [inpainting.error(c, r) for c, r in zip(cases, results, strict=True)]
    quartiles = np.quantile(errors, [0.25, 0.5, 0.75])
    return ["{1:.0f} ({0:.0f} to {2:.0f})".format(*quartiles)]


def of_border(case: Case) -> np.ndarray:
    """The box in the mean colour of the pixels around it."""
    rows, columns = (np.flatnonzero(case.painted.any(axis)) for axis in (1, 0))
    grown = np.zeros_like(case.painted)
    grown[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2] = True
    colour = case.image[grown & ~case.painted].mean(0)
    return np.where(case.painted[..., None], colour, case.image).astype(np.uint8)


DATA = {
    "shapes": Data(
        lambda n, size: list(inpainting.cases(n, size=size)),
        f"""scenes with colours and shapes
(or numbers of them) that training withholds. A box around one object, {inpainting.MARGIN:.0%} of
the side beyond its outline, is painted anew from the caption of the whole scene; no other object
reaches into it.""",
        """An object counts if the exact judge finds one object in the box, of the erased one's
colour and shape; exact 95% intervals. "True picture" is what the judge says of the scenes.""",
        ("object, %", "colour, %", "shape, %", "whole caption, %"),
        shapes_cells,
        {},
    ),
    "emoji": Data(
        of_emoji,
        """emoji each of withheld pairs of concept and
style and of withheld concepts. A box of half the side, its centre anywhere in the middle half, is
painted anew from the caption.""",
        """The error is the root mean square distance from the emoji itself inside the box, of 255
(median and quartiles). "Border's colour" is the box in the mean colour of the pixels around it:
what an error means can be told by it.""",
        ("error inside",),
        emoji_cells,
        {"border's colour": of_border},
    ),
}


def _row_of(
    name: str, data: Data, cases: Sequence[Case], results: Sequence[np.ndarray], seconds=None
) -> tuple:
    """A way's results as a row of the table."""
    n, pairs = len(cases), list(zip(cases, results, strict=True))
    found = [seams.seam(result, case.painted) for case, result in pairs]
    assert all(inpainting.kept(*pair) for pair in pairs), f"{name} changed pixels outside"
    return (
        name,
        *data.cells(cases, results),
        f"{np.mean(found):.2f}",
        f"{max(found):.2f}",
        f"{sum(seam <= 1.1 for seam in found)} of {n}",
        f"{n} of {n}",
        "" if seconds is None else f"{seconds:.2f}",
    )


def _sheet(path: pathlib.Path, cases: Sequence[Case], ways: dict[str, list[np.ndarray]]) -> None:
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
    parser.add_argument("--data", choices=DATA, default="shapes")
    parser.add_argument("--model", default="shapes", help="a base without inpainting planes")
    parser.add_argument(
        "--inpaint", nargs="*", default=[], help="directories of its fine-tuned inpainting versions"
    )
    parser.add_argument("--upsample", action="store_true", help="at the upsampler's size")
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
    data = DATA[args.data]
    cases = data.cases(args.n, base.sizes["upsample" if args.upsample else "base"])
    options = dict(
        preset=args.preset, guidance_scale=args.guidance_scale, seed=args.seed,
        upsample=args.upsample,
    )  # fmt: skip
    drawn, paint = {}, inpainting.painted
    for name in args.inpaint:
        folder = name.strip("/").replace("/", "_")
        drawn[name] = paint(glide_jax.load(name), cases, args.work / folder, options)
    drawn["known pixels"] = paint(base, cases, args.work / "known", options)
    repaint = dict(repeats=args.repeats, jump=args.jump)
    drawn["RePaint"] = paint(base, cases, args.work / "repaint", options, **repaint)
    rows = [_row_of("true picture", data, cases, [case.image for case in cases])]
    for name, fill in data.extra.items():
        rows.append(_row_of(name, data, cases, [fill(case) for case in cases]))
    rows += [_row_of(name, data, cases, *found) for name, found in drawn.items()]
    sheet_file = args.out.with_suffix(".png")
    shown = cases[: args.shown]
    _sheet(sheet_file, shown, {name: results for name, (results, _) in drawn.items()})
    about = MADE.format(
        data="" if args.data == "shapes" else f" --data {args.data} --n {args.n}",
        pictures=data.pictures, judged=data.judged,
        model=args.model, inpaint=" ".join(["", "--inpaint", *args.inpaint] * bool(args.inpaint)),
        n=args.n, size=" --upsample" * args.upsample, px=len(cases[0].image),
        preset=args.preset, scale=f"{args.guidance_scale:g}",
        seed=args.seed, jump=args.jump, repeats=args.repeats,
    )  # fmt: skip
    captions = "\n".join(f"{i + 1}. {case.caption}" for i, case in enumerate(shown))
    columns = ", ".join(["given", *drawn])
    blocks = [
        about,
        table(rows, ("way", *data.head, *SEAM)),
        "## The first cases, none left out",
        f"From left to right: {columns}.",
        picture(sheet_file.name, columns),
        captions,
    ]
    write_page(args.out, f"Inpainting of {args.data}", blocks)


if __name__ == "__main__":
    main()
