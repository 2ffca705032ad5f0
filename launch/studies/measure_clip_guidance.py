"""Whether guidance by the CLIP leaves pictures right under every sampler: the judge, by scale.

    python -m launch.studies.measure_clip_guidance --out docs/results/clip-guidance.md

Every sampler draws the same captions from the same starting noise without guidance, then by the
gradient of the model's CLIP. Steps are spread evenly and begin at timestep 999, where a score that
is not small counts most. A picture that is in --work is not drawn again.
"""

import argparse
import itertools
import pathlib
from typing import Any

import glide_jax
from glide_jax.diffusion.solvers import SAMPLERS
from glide_jax.evaluation import protocols, setup
from glide_jax.evaluation.evaluate import Evaluator
from glide_jax.evaluation.metrics.intervals import Share, percent
from glide_jax.evaluation.report import write_page
from glide_jax.sampling.glide import Glide
from glide_jax.tables import table
from launch.studies.shared import cache_folder, progress

Cell = tuple[str, int, float]  # sampler, steps, scale
ABOUT = """\
Made by `launch/studies/measure_clip_guidance.py {options}`{where}: {n} captions, seen and held out,
of every kind, one picture each, the same starting noise in every cell, seed {seed}, 64 px, no
upsampler, steps spread evenly from timestep 999, model sha256 {sha256}. Percent of pictures in
which everything the caption states holds by the exact judge, with exact 95% intervals; scale 0 is
the model without any guidance."""


def evaluate_cells(glide: Glide, sha256: str, args: argparse.Namespace) -> dict[Cell, Share]:
    """Draws missing pictures and judges them all: the share that is right in each cell.

    Args:
        glide: the model.
        sha256: the sum of its directory.
        args: the command line.
    """
    evaluator = Evaluator(protocols.open_protocol("shapes", n=args.n))
    setup.claim_folder(args.work, sha256)
    cells: dict[Cell, Share] = {}
    for cell in itertools.product(args.samplers, args.steps, [0.0, *args.scales]):
        sampler, steps, scale = cell
        options: dict[str, Any] = dict(sampler=sampler, steps=steps, seed=args.seed, upsample=False)
        # Without a guide there is no gradient to compute, and with this one no empty prompt.
        options |= {"clip_guidance_scale": scale} if scale else {"guidance_scale": 1.0}
        name = f"{sampler}-{steps}-clip{scale:g}"
        with progress(name) as report:
            result = evaluator.run(
                glide, args.work / name, options, batch_size=args.batch_size, progress=report
            )
        cells[cell] = result["shapes"]["*"]["all"]
    return cells


def rows_of(cells: dict[Cell, Share], scales: list[float]) -> list[tuple]:
    """The table's rows, one for each sampler and number of steps."""
    rows = []
    for sampler, steps in dict.fromkeys(cell[:2] for cell in cells):
        plain, *guided = (cells[sampler, steps, scale] for scale in (0.0, *scales))
        change = min(share["share"] for share in guided) - plain["share"]
        rows.append(
            (sampler, steps, *(percent(s, 0) for s in (plain, *guided)), f"{100 * change:+.0f}")
        )
    return rows


def main() -> None:
    """Runs what is missing, then writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shapes", help="a directory or a name, with a CLIP")
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS), choices=list(SAMPLERS))
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 50])
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 2.0, 3.0])
    parser.add_argument("--n", type=int, default=6, help="captions of each of 8 groups")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--where", default="", help="the commit and the machine, for the page")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/clip-guidance"))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    cache = cache_folder()
    sha256 = setup.sha256_of_model(args.model, cache / "models")
    cells = evaluate_cells(glide_jax.load(args.model, cache=cache), sha256, args)
    listed = lambda values: " ".join(f"{value:g}" for value in values)
    about = ABOUT.format(
        options=f"--model {args.model} --steps {listed(args.steps)} --scales {listed(args.scales)} "
        f"--n {args.n}",
        where=f", {args.where}" if args.where else "", n=next(iter(cells.values()))["n"],
        seed=args.seed, sha256=sha256[:16],
    )  # fmt: skip
    head = ("sampler", "steps", "scale 0", *(f"{scale:g}" for scale in args.scales),
            "largest change, points")  # fmt: skip
    blocks = [about, table(rows_of(cells, args.scales), head)]
    write_page(args.out, "Guidance by the CLIP under every sampler", blocks)
    print(args.out)


if __name__ == "__main__":
    main()
