"""The paper's figure 6 on a model of shapes: what guidance buys, and what it costs.

python launch/measure_guidance.py --model shapes --out docs/results/guidance.md

It runs `glide-jax sweep --protocol shapes_repeats` into --work, where it goes on if it was stopped,
and writes a page and one plot from the results. With --clip, a model with a noise-aware CLIP,
runs guided by its gradient are made too.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from glide_jax import build
from glide_jax.cli import common, sweep_
from glide_jax.evaluation import diversity, plots, protocols, report
from glide_jax.evaluation.shapes_report import percent

SCALES, CLIP_SCALES = "1,1.5,2,3,4,6,8,10", "0,1,2,3,5,7,10"
HEAD = ("guided by", "scale", "all right", "colours", "shapes", "number", "position", "extent",
        "colour", "Fréchet", "kernel", "precision", "recall")  # fmt: skip
ABOUT = """\
Made by `launch/measure_guidance.py --model {model}{clip}`: {captions} captions, seen and held out,
{repeats} pictures of each for every scale, the same starting noise at every scale, seed {seed},
preset {preset} ({sampler}, {steps} steps), model sha256 {sha256}.

Alignment is the exact judge's: percent of pictures in which everything the caption states holds,
and its parts, with exact 95% intervals (pictures of one caption are counted as independent).
Diversity is the spread of positions, extents and colours of objects among pictures of the same
caption that have the right number and colours, as a ratio to that of true scenes: 1 is as varied as
the data, 0 always the same picture; 95% intervals over captions. Fréchet and kernel distance,
precision and recall are to as many true scenes of the same captions, on colours of an 8 x 8 grid
(192 numbers); with {n} pictures the Fréchet distance is biased upwards, for every row alike."""


def packed(model: str, clip: str, work: pathlib.Path) -> str:
    """A directory of the model's base with that CLIP; `build.pack` might take another base."""
    find = lambda name: build.find(name, common.cache_folder() / "models")
    found, other = build.read(find(model)), build.read(find(clip), whole=False).clip
    if other is None:
        raise SystemExit(f"{clip} has no CLIP.")
    folder = work / "model"
    if not folder.exists():
        whole = build.Model(found.name, found.tokenizer, {"base": found.stages["base"]}, other)
        build.save(folder, whole, card=f"# {found.name}, with a CLIP\n")
    return str(folder)


def row_of(guide: str, scale: float, result: dict[str, Any]) -> tuple:
    """A run as a row of the table."""
    judged, spread, found = (
        result["shapes"]["*"],
        result["diversity"]["spread"],
        result["features"],
    )
    ratio = lambda s: f"{s['ratio']:.2f} ({s['low']:.2f} to {s['high']:.2f})"
    return (
        guide,
        f"{scale:g}",
        *(percent(judged[aspect], 0) for aspect in ("all", "colours", "shapes", "count")),
        *(ratio(spread[aspect]) if aspect in spread else "" for aspect in diversity.ASPECTS),
        f"{found['frechet_distance']:.3f}",
        f"{found['kernel_distance']:.4f}",
        f"{found['precision']:.2f}",
        f"{found['recall']:.2f}",
    )


def seen(curves: dict[str, list[tuple[float, dict[str, Any]]]]) -> str:
    """What the numbers say, in sentences that only repeat them."""
    lines = []
    for guide, runs in curves.items():
        best, colours = (
            max(runs, key=lambda run: run[1]["shapes"]["*"][aspect]["share"])
            for aspect in ("all", "colours")
        )
        nearest = min(runs, key=lambda run: run[1]["features"]["frechet_distance"])
        share = lambda run, aspect: percent(run[1]["shapes"]["*"][aspect], 0)
        text = (
            f"{guide}: most pictures are right at scale {best[0]:g}, {share(best, 'all')} percent, "
            f"most colours at scale {colours[0]:g}, {share(colours, 'colours')} percent; the "
            f"Fréchet distance is least at scale {nearest[0]:g}, "
            f"{nearest[1]['features']['frechet_distance']:.3f}."
        )
        ends = [(s, r["diversity"]["spread"].get("position")) for s, r in (runs[0], runs[-1])]
        if len(runs) > 1 and all(value for _, value in ends):
            a, b = ((s, value["ratio"]) for s, value in ends)
            text += (
                f" From scale {a[0]:g} to {b[0]:g} the spread of positions goes from "
                f"{a[1]:.2f} to {b[1]:.2f} of the data's."
            )
        lines.append(text)
    return "\n\n".join(lines)


def write(out: pathlib.Path, work: pathlib.Path, args: argparse.Namespace) -> None:
    """The page and its plot, from the runs' files."""
    curves: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for row in json.loads((work / "sweep.json").read_text()):
        result = json.loads((work / row["name"] / "result.json").read_text())
        guide = "CLIP" if row["curve"].startswith("CLIP") else "classifier-free"
        curves.setdefault(guide, []).append((row["guidance_scale"], result))
    for runs in curves.values():
        runs.sort(key=lambda run: run[0])
    first = next(iter(curves.values()))[0][1]
    aspects = {"everything": "all", "colours": "colours", "number": "count"}
    right = lambda result, aspect: 100 * result["shapes"]["*"][aspect]["share"]
    spread = lambda result: result["diversity"]["spread"].get("position", {}).get("ratio", 0.0)
    distance = lambda result: result["features"]["frechet_distance"]
    several = len(curves) > 1
    of = lambda x: {
        f"{what}, {guide}" if several else what: [
            (x(scale, r), right(r, aspect), f"{scale:g}") for scale, r in runs
        ]
        for guide, runs in curves.items()
        for what, aspect in aspects.items()
    }
    plots.panels(
        out.with_suffix(".png"),
        [
            plots.Panel("scale", "right, %", of(lambda s, r: s)),
            plots.Panel("spread of positions, of the data's", "right, %",
                        of(lambda s, r: spread(r))),
            plots.Panel("Fréchet distance", "right, %", of(lambda s, r: distance(r))),
        ],
    )  # fmt: skip
    base = first["sampling"]["base"]
    clip = f" --clip {pathlib.Path(args.clip).name}" if args.clip else ""
    about = ABOUT.format(
        model=args.model, clip=clip, n=first["n"],
        captions=first["n"] // protocols.REPEATS, repeats=protocols.REPEATS, seed=args.seed,
        preset=args.preset, sampler=base["sampler"], steps=base["steps"],
        sha256=first["model_sha256"][:16],
    )  # fmt: skip
    rows = [row_of(guide, scale, r) for guide, runs in curves.items() for scale, r in runs]
    blocks = [
        report.Text(about),
        report.Picture(out.with_suffix(".png").name, "alignment against scale, spread, distance"),
        report.Text(seen(curves)),
        report.Table(HEAD, rows),
    ]
    report.page(out, "Guidance: alignment against diversity", blocks)


def main() -> None:
    """Runs what is missing of the sweep, then writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shapes", help="a directory or a name")
    parser.add_argument("--clip", help="a directory or a name, of a model with a noise-aware CLIP")
    parser.add_argument("--scales", default=SCALES)
    parser.add_argument("--clip-scales", default=CLIP_SCALES)
    parser.add_argument("--n", default="5", help="captions of each of 8 groups")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--batch-size", default="16")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/guidance"))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    model = packed(args.model, args.clip, args.work) if args.clip else args.model
    words = ["--model", model, "--out", str(args.work), "--protocol", "shapes_repeats",
             "--n", args.n, "--features", "pixels", "--preset", args.preset, "--seed", args.seed,
             "--guidance-scales", args.scales, "--batch-size", args.batch_size,
             "--no-upsample"]  # fmt: skip
    if args.clip:
        words += ["--clip-guidance-scales", args.clip_scales]
    sweep_.command.main(args=words, standalone_mode=False)
    write(args.out, args.work, args)


if __name__ == "__main__":
    main()
