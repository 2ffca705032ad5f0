"""Students against their teacher: the judge, distances, seconds and arithmetic, and a sheet.

python -m launch.studies.measure_students --teacher shapes --out docs/results/students.md \
    --bases runs/guided/model runs/few/steps-16/model runs/few/steps-4/model \
    --upsamplers runs/few-up/steps-1/model

Every row draws the same captions of the shapes protocol from the same seeds, hence from the same
noise. A whole cascade is made of the base of one directory and the upsampler of another. Pictures
that are in --work are not drawn again.
"""

import argparse
import dataclasses
import functools
import pathlib
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import glide_jax
from glide_jax import contact_sheets, images
from glide_jax.benchmarks import bench, networks, timing
from glide_jax.evaluation import protocols, report, setup
from glide_jax.evaluation.evaluate import Evaluator
from glide_jax.evaluation.features import known
from glide_jax.evaluation.metrics.intervals import difference_interval, percent, share_of
from glide_jax.sampling import cascade
from glide_jax.sampling.glide import Glide
from glide_jax.tables import table
from glide_jax.types import Cond
from launch.studies import convergence
from launch.studies.measure_presets import DISTANCES, add_options, judged, together
from launch.studies.shared import cache_folder

MANY, MANY_UPSAMPLE = 50, 27  # the steps of the notebooks, halved for the base
CONVERGED = ("dpmpp_2m", "logsnr", 200)
OF_TEACHER = (("ddim", "", MANY_UPSAMPLE), ("dpmpp_2m", "logsnr", 10), ("dpmpp_2m", "logsnr", 5),
              *(("ddim", "logsnr_trailing", n) for n in (8, 4, 2, 1)))  # fmt: skip
GROUPS = {"train/*": "seen, %", "held_out/*": "held out, %"}
PROMPTS = (
    "a large red circle on a white background",
    "two blue stars on a black background",
    "a small green square to the left of a yellow ring on a white background",
    "three purple triangles on a gray background",
    "a cyan heart above an orange cross on a black background",
    "a small pink diamond on a gray background",
)
ABOUT = """\
Made by `python -m launch.studies.measure_students {command}`.
There are {pictures} captions of the shapes protocol, seen and held out, one picture each from the
seeds {seeds}, guidance scale {scale:g}. Percent right by the exact judge with exact 95% intervals;
points are the difference from the first row, with its interval. Distances are to as many true
scenes of the same captions, on colours of an 8 x 8 grid, seed by seed. Seconds are the median of
{times} pictures from prompt to picture, one at a time and every row in turn, with the least and the
most. TFLOP are those of the plain networks. The teacher is `{teacher}` (sha256 {sha256})."""
OF_BASES = (
    "Pictures have 64 px. A step of the teacher is two evaluations, with the prompt and without."
)
OF_UPSAMPLERS = """\
Each upsampler enlarges the same {n} pictures from the same noise. The distance is the root mean
square of the difference from what {steps} steps of {sampler} of the teacher lead to, in percent of
the pixels' standard deviation."""
OF_CASCADES = "Pictures have 256 px, of {pictures} captions."


class Model(NamedTuple):
    """What was read from a directory, or from two, and its sum."""

    glide: Glide
    sha256: str

    def steps(self, stage: str) -> int:
        """The steps that a stage is distilled to, or 0."""
        return self.glide.loaded.stages[stage].distilled

    def grid(self, stage: str) -> str:
        """The grid of those steps."""
        return self.glide.loaded.sampling[stage].grid

    def guides(self) -> bool:
        """Whether a guided step is one evaluation."""
        return bool(self.glide.loaded.stages["base"].guidance)

    def with_upsampler(self, other: "Model") -> "Model":
        """This base with the upsampler of another."""
        ours, theirs, name = self.glide.loaded, other.glide.loaded, "upsample"
        fields = ("stages", "sampling", "configs", "params")
        changed = {f: getattr(ours, f) | {name: getattr(theirs, f)[name]} for f in fields}
        both = dataclasses.replace(ours, **changed)
        return Model(Glide(both), self.sha256[:16] + other.sha256[:16])


class Row(NamedTuple):
    """One line of a table: a model, how it is drawn, and the evaluations of each network."""

    name: str
    model: Model
    options: dict[str, Any]
    evaluations: dict[str, int]


def seconds(rows: Sequence[Row], args: argparse.Namespace) -> list[np.ndarray]:
    """Seconds of one picture, (times,) for each row in turn."""
    draw = lambda row: row.model.glide(
        PROMPTS[0], guidance_scale=args.guidance_scale, **row.options
    )
    times = timing.in_turn({row.name: functools.partial(draw, row) for row in rows}, args.times)
    return [np.array(times[row.name].seconds) for row in rows]


def teraflop(teacher: str, models: pathlib.Path) -> dict[str, float]:
    """The arithmetic of one evaluation of each stage for one picture, in 10^12.

    Args:
        teacher: a directory or a name.
        models: the folder of models by name.
    """
    found = {}
    for name, load in bench.loads(teacher, models, ("base", "upsample")).items():
        config, params = load()
        part = networks.Part(name, config, params, params, "float32")
        found[name] = networks.evaluation_flops(part, networks.inputs(config.model, 1)) / 1e12
    return found


def table_of(rows: Sequence[Row], n: int, each: dict[str, float], args: argparse.Namespace) -> str:
    """Draws, judges and times the rows; the others are compared with the first.

    Args:
        rows: the first is the teacher.
        n: captions of each group.
        each: see `teraflop`.
        args: the command line.
    """
    evaluator = Evaluator(protocols.open_protocol("shapes", n=n), known.pixels())
    stem = lambda row: re.sub(r"\W+", "-", row.name) + f"-{row.model.sha256[:32]}"
    results = [judged(evaluator, row.model.glide, stem(row), row.options, args) for row in rows]
    times = seconds(rows, args)
    first, lines = together(results[0], "all"), []
    for row, runs, spent in zip(rows, results, times, strict=True):
        right = together(runs, "all")
        low, high = (100 * bound for bound in difference_interval(right, first))
        points = 100 * (right[0] / right[1] - first[0] / first[1])
        spread = f"{np.median(spent):.3f} ({spent.min():.3f} to {spent.max():.3f})"
        lines.append((
            row.name, *row.evaluations.values(), percent(share_of(*right)),
            "" if row is rows[0] else f"{points:+.1f} ({low:+.1f} to {high:+.1f})",
            *(percent(share_of(*together(runs, "all", group))) for group in GROUPS),
            *(", ".join(f"{run['features'][d]:.3f}" for run in runs) for d in DISTANCES),
            spread, f"{np.median(times[0]) / np.median(spent):.1f}",
            f"{sum(n * each[stage] for stage, n in row.evaluations.items()):.3g}",
        ))  # fmt: skip
    head = ("model", *(f"evaluations, {stage}" for stage in rows[0].evaluations), "all right, %",
            "points", *GROUPS.values(), *DISTANCES.values(), "seconds", "times as fast",
            "TFLOP")  # fmt: skip
    return table(lines, head)


def as_students(students: Sequence[Model]) -> dict[str, Any]:
    """How the teacher is drawn: by DDIM, on the grid of the first student of steps."""
    grids = [student.grid("base") for student in students if student.steps("base")]
    return dict(sampler="ddim", grid=grids[0] if grids else "trailing")


def bases(teacher: Model, students: Sequence[Model]) -> list[Row]:
    """The teacher at many steps and at its students', and the students, all without upsampler.

    A student of guidance alone is drawn at many steps, and at those that the first student of
    steps had before it.
    """
    alike, of_steps = as_students(students), [n for s in students if (n := s.steps("base")) > 1]
    own = lambda n: alike | dict(steps=n, upsample=False)
    rows = [Row(f"teacher, {n} steps", teacher, own(n), {"base": 2 * n}) for n in (MANY, *of_steps)]
    for student in students:
        each = 1 if student.guides() else 2
        if n := student.steps("base"):
            named = {f"student of {n} steps": (n, dict(upsample=False))}
        else:
            many = sorted({MANY, *(2 * most for most in of_steps[:1])}, reverse=True)
            named = {f"student of guidance, {n} steps": (n, own(n)) for n in many}
        rows += [
            Row(name, student, options, {"base": each * n}) for name, (n, options) in named.items()
        ]
    return rows


def cascades(teacher: Model, students: Sequence[Model], uppers: Sequence[Model]) -> list[Row]:
    """The teacher at many steps, and every student of steps with every upsampler's student."""
    many = as_students(students) | dict(steps=MANY, upsample_steps=MANY_UPSAMPLE)
    many |= dict(upsample_sampler="ddim", upsample_grid="")
    counts = {"base": 2 * MANY, "upsample": MANY_UPSAMPLE}
    rows = [Row(f"teacher, {MANY} + {MANY_UPSAMPLE}", teacher, many, counts)]
    for student in students:
        for upper in uppers if student.steps("base") else ():
            counts = {"base": student.steps("base"), "upsample": upper.steps("upsample")}
            name = "student, " + " + ".join(map(str, counts.values()))
            rows.append(Row(name, student.with_upsampler(upper), {}, counts))
    return rows


def upsamplers_table(teacher: Model, students: Sequence[Model]) -> str:
    """How far each upsampler is from where the teacher's many steps lead."""
    small = [p.array for p in teacher.glide(list(PROMPTS), upsample=False, batch_size=len(PROMPTS))]
    low_res = jnp.asarray(np.stack([images.from_uint8(array) for array in small]))
    keys = cascade.image_keys(0, np.arange(len(PROMPTS)), 1)

    def draws(model: Model) -> convergence.Draw:
        loaded = model.glide.loaded
        stage, params = loaded.stages["upsample"], loaded.params["upsample"]
        text = cascade.encode_text(
            stage.encode, params, *loaded.tokenizer(list(PROMPTS), stage.context)
        )
        how = loaded.sampling["upsample"]
        return convergence.drawing(stage, params, keys, Cond(text, low_res=low_res), None, how)

    of_teacher = draws(teacher)
    converged = of_teacher(*CONVERGED)
    named = lambda s, g, n: f"teacher, {n} steps of {s}, {g or 'respaced evenly'}"
    found = {named(*chain): (chain[2], of_teacher(*chain)) for chain in OF_TEACHER}
    for model in students:
        n = model.steps("upsample")
        found[f"student of {n}"] = n, draws(model)("ddim", model.grid("upsample"), n)
    rows = [
        (name, n, f"{100 * convergence.distance(drawn, converged):.2f}")
        for name, (n, drawn) in found.items()
    ]
    return table(rows, ("upsampler", "evaluations", "distance, %"))


def write_sheet(rows: Sequence[Row], path: pathlib.Path, args: argparse.Namespace) -> None:
    """Every row's pictures of PROMPTS from the same noise, a line for each row."""
    tiles, captions = [], []
    for row in rows:
        options = row.options | dict(seed=args.seeds[0], guidance_scale=args.guidance_scale)
        drawn = row.model.glide(list(PROMPTS), batch_size=len(PROMPTS), **options)
        tiles += [p.image for p in drawn]
        captions += [row.name, *PROMPTS[1:]]
    sheet = contact_sheets.contact_sheet(tiles, captions, side=128, columns=len(PROMPTS))
    images.write_png(path, sheet, {"contact_sheet_of": list(PROMPTS)})


def main() -> None:
    """Runs what is missing, then writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--teacher", default="shapes", help="a directory or a name")
    parser.add_argument("--bases", nargs="+", required=True, help="directories of students")
    parser.add_argument("--upsamplers", nargs="*", default=[], help="directories of students")
    parser.add_argument("--n-both", type=int, help="the same for cascades, 0: none")
    add_options(parser, work=pathlib.Path("runs/students"), n=25, batch_size=25, times=5)
    args = parser.parse_args()
    cache = cache_folder()
    opened = lambda name: Model(
        glide_jax.load(name, cache=cache), setup.sha256_of_model(name, cache / "models")
    )
    teacher, students = opened(args.teacher), [opened(name) for name in args.bases]
    uppers = [opened(name) for name in args.upsamplers]
    each = teraflop(args.teacher, cache / "models")
    few = args.n if args.n_both is None else args.n_both
    of_bases, whole = bases(teacher, students), cascades(teacher, students, uppers)
    about = ABOUT.format(
        command=shlex.join(sys.argv[1:]), times=args.times, pictures=8 * args.n,
        seeds=", ".join(map(str, args.seeds)), scale=args.guidance_scale,
        teacher=args.teacher, sha256=teacher.sha256[:16],
    )  # fmt: skip
    blocks = [about, "## Base", OF_BASES, table_of(of_bases, args.n, each, args)]
    if uppers:
        text = OF_UPSAMPLERS.format(n=len(PROMPTS), steps=CONVERGED[2], sampler=CONVERGED[0])
        blocks += ["## Upsampler", text, upsamplers_table(teacher, uppers)]
    if uppers and few:
        text = OF_CASCADES.format(pictures=8 * few)
        blocks += ["## Both", text, table_of(whole, few, each, args)]
    sheet = args.out.with_suffix(".png")
    write_sheet(whole if uppers and few else of_bases, sheet, args)
    blocks.append(report.picture(sheet.name, "each model's pictures from the same noise"))
    report.write_page(args.out, "Students against their teacher", blocks)
    print(args.out)


if __name__ == "__main__":
    main()
