"""Whether a preset of few steps draws as well as many steps do: judge and distances, by seed.

python -m launch.studies.measure_presets --model shapes --out docs/results/presets.md

A preset may have options of its own, as in `fast/reuse=3/guidance_interval=0,700`, or be options
alone, as in `steps=50/sampler=ddim`. Every one draws the same captions from several seeds; what two
seeds of one preset differ by is the noise against which presets are compared. A picture that is in
--work is not drawn again. With --times, presets then draw a batch in turn, so many times, for the
seconds of a picture.
"""

import argparse
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

import glide_jax
from glide_jax.benchmarks import timing
from glide_jax.evaluation import protocols, setup
from glide_jax.evaluation.evaluate import Evaluator
from glide_jax.evaluation.features import known
from glide_jax.evaluation.metrics.intervals import difference_interval, percent, share_of
from glide_jax.evaluation.report import write_page
from glide_jax.sampling import settings
from glide_jax.sampling.glide import Glide
from glide_jax.tables import table
from launch.studies.shared import cache_folder, progress

Results = dict[str, list[dict[str, Any]]]  # by preset, one for each seed

ASPECTS = ("all", "colours", "shapes", "count")
DISTANCES = {"frechet_distance": "Fréchet", "kernel_distance": "kernel",
             "precision": "precision", "recall": "recall"}  # fmt: skip
ABOUT = """\
Made by `launch/studies/measure_presets.py --model {model}`: {n} captions, seen and held out, of
every kind, one picture each from every seed (in the table from the first to the last: {seeds}), at
{side} px, guidance scale {scale}, model sha256 {sha256}. Percent right by the exact judge, all
seeds together, with exact 95% intervals. Distances are to as many true scenes of the same captions,
on colours of an 8 x 8 grid (192 numbers), seed by seed."""
TIMES = """\
Seconds of a picture of the base: the median of {times} batches of {batch}, presets in turn, with
the least and the most; "times" is how often its median goes into that of {last}."""
# Within --times the same captions are drawn by all.
CAPTION = "a large red circle on a white background"


def add_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Gives a study what `judged` takes, --times and --out.

    Args:
        parser: the study's.
        **defaults: those of work, n, batch_size and times.
    """
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--n", type=int, help="captions of each of 8 groups")
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--times", type=int, help="rounds in which each is timed")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.set_defaults(**defaults)


def judged(
    evaluator: Evaluator,
    glide: Glide,
    name: str,
    options: Mapping[str, Any],
    args: argparse.Namespace,
) -> list[dict[str, Any]]:
    """The results of a model's pictures from every seed; what is drawn already is kept.

    Args:
        evaluator: has the captions.
        glide: the model.
        name: that of the pictures' folders, which has no slash.
        options: of sampling, which go over the study's guidance scale.
        args: see `add_options`.
    """
    runs = []
    for seed in args.seeds:
        each = dict(seed=seed, guidance_scale=args.guidance_scale) | dict(options)
        with progress(f"{name}-seed{seed}") as report:
            runs.append(
                evaluator.run(
                    glide, args.work / f"{name}-seed{seed}", each,
                    batch_size=args.batch_size, progress=report,
                )
            )  # fmt: skip
    return runs


def evaluate_presets(glide: Glide, sha256: str, args: argparse.Namespace) -> Results:
    """Draws missing pictures, judges and measures everything.

    Args:
        glide: the model.
        sha256: the sum of its directory.
        args: the command line.
    """
    evaluator = Evaluator(protocols.open_protocol("shapes", n=args.n), known.pixels())
    setup.claim_folder(args.work, sha256)
    results: Results = {}
    for preset in args.presets:
        options = dict(upsample=args.upsample) | options_of(preset)
        name = preset.replace("/", "+")
        results[preset] = judged(evaluator, glide, name, options, args)
    return results


def options_of(preset: str) -> dict[str, Any]:
    """The options of a preset as the command line takes it."""
    pairs = (part.split("=", 1) if "=" in part else ("preset", part) for part in preset.split("/"))
    return dict(pairs)


def measured_times(glide: Glide, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Seconds of a picture, (times,) for each preset, in turn."""

    def batch(preset: str) -> None:
        options = dict(guidance_scale=args.guidance_scale) | options_of(preset)
        glide(CAPTION, n=args.batch_size, batch_size=args.batch_size, upsample=False, **options)

    calls = {preset: functools.partial(batch, preset) for preset in args.presets}
    times = timing.in_turn(calls, args.times)
    return {preset: np.array(t.seconds) / args.batch_size for preset, t in times.items()}


def table_of_times(times: dict[str, np.ndarray]) -> str:
    """The table of --times."""
    last = np.median(list(times.values())[-1])
    rows = [
        (
            preset,
            f"{np.median(s):.3f} ({s.min():.3f} to {s.max():.3f})",
            f"{last / np.median(s):.2f}",
        )
        for preset, s in times.items()
    ]
    return table(rows, ("preset", "seconds", "times"))


def together(runs: list[dict[str, Any]], aspect: str, group: str = "*") -> tuple[int, int]:
    """Right ones and all of them, of every seed."""
    found = [run["shapes"][group][aspect] for run in runs]
    return sum(s["right"] for s in found), sum(s["n"] for s in found)


def rows_of(results: Results) -> list[tuple]:
    """The table's rows, one for each preset."""
    return [
        (
            preset,
            *(runs[0]["sampling"]["base"][key] for key in ("sampler", "steps")),
            *(percent(share_of(*together(runs, aspect))) for aspect in ASPECTS),
            *(
                ", ".join(f"{run['features'][name]:.3f}" for run in runs)
                for name in DISTANCES
            ),
        )
        for preset, runs in results.items()
    ]  # fmt: skip


def differences(results: Results) -> str:
    """Each preset against the last one named, in sentences that only repeat numbers."""
    *others, last = results
    frechet = lambda preset: [r["features"]["frechet_distance"] for r in results[preset]]
    spread = np.ptp(frechet(last))
    lines = []
    for preset in others:
        first, second = together(results[preset], "all"), together(results[last], "all")
        low, high = difference_interval(first, second)
        change = first[0] / first[1] - second[0] / second[1]
        lines.append(
            f"{preset} against {last}: {100 * change:+.1f} points all right (95% interval "
            f"{100 * low:+.1f} to {100 * high:+.1f}); Fréchet distance "
            f"{np.mean(frechet(preset)) - np.mean(frechet(last)):+.3f} in the mean, where the "
            f"seeds of {last} differ by {spread:.3f}."
        )
    return "\n\n".join(lines)


def main() -> None:
    """Runs what is missing, then writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shapes", help="a directory or a name")
    parser.add_argument("--presets", nargs="+", default=list(settings.PRESETS),
                        help="the last is what the others are compared with")  # fmt: skip
    parser.add_argument("--upsample", action="store_true", help="run the upsampler too")
    add_options(parser, work=pathlib.Path("runs/presets"), n=40, batch_size=16, times=0)
    args = parser.parse_args()
    cache = cache_folder()
    sha256 = setup.sha256_of_model(args.model, cache / "models")
    glide = glide_jax.load(args.model, cache=cache)
    results = evaluate_presets(glide, sha256, args)
    about = ABOUT.format(
        model=f"{args.model} --presets {' '.join(args.presets)} --n {args.n}"
        f"{' --upsample' if args.upsample else ''}"
        f"{f' --times {args.times}' if args.times else ''}",
        n=results[args.presets[-1]][0]["n"], seeds=", ".join(map(str, args.seeds)),
        side=glide.sizes["upsample" if args.upsample else "base"],
        scale=f"{args.guidance_scale:g}", sha256=sha256[:16],
    )  # fmt: skip
    head = ("preset", "sampler", "steps", "all right, %", "colours", "shapes", "number",
            *DISTANCES.values())  # fmt: skip
    blocks = [about, table(rows_of(results), head), differences(results)]
    if args.times:
        text = TIMES.format(times=args.times, batch=args.batch_size, last=args.presets[-1])
        blocks += [text, table_of_times(measured_times(glide, args))]
    write_page(args.out, "Presets: few steps against many", blocks)
    print(args.out)


if __name__ == "__main__":
    main()
