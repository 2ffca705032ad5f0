"""The paper's figure 6 on a model in the box: what guidance buys, and what it costs.

    python -m launch.studies.measure_guidance --model shapes --out docs/results/guidance.md
    python -m launch.studies.measure_guidance --model emoji --data emoji --n 33 --out PAGE.md

It runs the sweep of `glide-jax sweep` into --work, where it goes on if it was stopped, and writes a
page and one plot from the results. With --clip, a model with a noise-aware CLIP, it also makes runs
that are guided by the CLIP's gradient. Pictures of shapes are judged exactly; those of emoji by
--clip, or else by the model's own CLIP.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any, TypeAlias

import glide_jax
from glide_jax.evaluation import diversity, plots, protocols, setup, sweeps
from glide_jax.evaluation.metrics.intervals import percent, share_of
from glide_jax.evaluation.report import picture, write_page
from glide_jax.model_dir import reading, writing
from glide_jax.tables import table
from launch.studies.shared import cache_folder, progress

SCALES, CLIP_SCALES = "1,1.5,2,3,4,6,8,10", "0,1,2,3,5,7,10"
Result: TypeAlias = dict[str, Any]
Cost: TypeAlias = tuple[str, Callable[[Result], float]]  # what it is, and its number


@dataclasses.dataclass(frozen=True)
class Data:
    """The prompts of a page, and the results that it shows.

    Attributes:
        protocol: its name.
        features: the extractor's name.
        repeats: pictures of each caption.
        about: the page's first words, a template.
        right: parts of the alignment, the first of which ranks scales: shares by name.
        plotted: how many of those parts the plot has.
        costs: what grows or falls with guidance; the plot has two of them.
        columns: further numbers of the table, by their heads.
    """

    protocol: str
    features: str
    repeats: int
    about: str
    right: Callable[[Result], dict[str, Any]]
    plotted: int
    costs: tuple[Cost, Cost]
    columns: Callable[[Result], dict[str, str]]


MADE = """\
Made by `launch/studies/measure_guidance.py --model {model}{clip}{more}`: {captions} captions, seen
and held out, {each} for every scale, the same starting noise at every scale, seed {seed},
preset {preset} ({sampler}, {steps} steps), 64 px, model sha256 {sha256}.

"""
ABOUT_SHAPES = """\
Alignment is the exact judge's: percent of pictures in which everything the caption states holds,
and its parts, with exact 95% intervals (pictures of one caption are counted as independent).
Diversity is the spread of positions, extents and colours of objects among pictures of the same
caption that have the right number and colours, as a ratio to that of true scenes: 1 is as varied as
the data, 0 always the same picture; 95% intervals over captions. Fréchet and kernel distance,
precision and recall are to as many true scenes of the same captions, on colours of an 8 x 8 grid
(192 numbers); with {n} pictures the Fréchet distance is biased upwards, for every row alike."""
ABOUT_EMOJI = """\
Alignment is a noise-aware CLIP's, the one that also guides: percent of pictures that are nearer to
their own caption than to all others, with exact 95% intervals. It is weak, and of pictures that it
guided itself it measures how well they please it, not how right they are. Distances, precision and
recall are to the true emoji of these captions, by EfficientNet-Lite0; with {n} pictures the Fréchet
distance is biased upwards, for every row alike."""


def of_shapes(result: Result) -> dict[str, Any]:
    """The shares that the judge finds right."""
    names = {"all right": "all", "colours": "colours", "shapes": "shapes", "number": "count"}
    return {name: result["shapes"]["*"][aspect] for name, aspect in names.items()}


def of_emoji(result: Result) -> dict[str, Any]:
    """How often a picture's own caption is the nearest."""
    groups = result["clip"]["by_group"]
    found = {name: group["own_caption_first"] for name, group in groups.items()}
    every = share_of(*(sum(s[what] for s in found.values()) for what in ("right", "n")))
    return {"own caption first": every} | {n.replace("_", " "): s for n, s in found.items()}


def distances(result: Result) -> dict[str, str]:
    """To the reference."""
    found = result["features"]
    return {
        "Fréchet": f"{found['frechet_distance']:.3f}",
        "kernel": f"{found['kernel_distance']:.4f}",
        "precision": f"{found['precision']:.2f}",
        "recall": f"{found['recall']:.2f}",
    }


def spreads(result: Result) -> dict[str, str]:
    """Spreads of pictures of one caption, and distances to the reference."""
    found = result["diversity"]["spread"]
    ratio = lambda s: f"{s['ratio']:.2f} ({s['low']:.2f} to {s['high']:.2f})"
    shown = {a: ratio(found[a]) if a in found else "" for a in diversity.ASPECTS}
    return shown | distances(result)


feature = lambda name: lambda result: result["features"][name]
DATA = {
    "shapes": Data(
        "shapes_repeats", "pixels", protocols.REPEATS, ABOUT_SHAPES,
        of_shapes, 2,
        (("spread of positions",
          lambda r: r["diversity"]["spread"].get("position", {}).get("ratio", 0.0)),
         ("Fréchet distance", feature("frechet_distance"))), spreads),
    "emoji": Data(
        "emoji", "efficientnet-lite0", 1, ABOUT_EMOJI,
        of_emoji, 1,
        (("recall", feature("recall")), ("kernel distance", feature("kernel_distance"))),
        distances),
}  # fmt: skip


def _packed(model: str, clip: str, work: pathlib.Path) -> str:
    """A directory of the model's base with that CLIP; `pack_models` might take another base."""
    find = lambda name: reading.find_model(name, cache_folder() / "models")
    found, other = reading.read_model(find(model)), reading.read_model(find(clip), whole=False).clip
    if other is None:
        raise SystemExit(f"{clip} has no CLIP.")
    folder = work / "model"
    if not folder.exists():
        whole = reading.Model(found.name, found.tokenizer, {"base": found.stages["base"]}, other)
        writing.write_model(folder, whole, card=f"# {found.name}, with a CLIP\n")
    return str(folder)


def seen(data: Data, curves: dict[str, list[tuple[float, Result]]]) -> str:
    """The numbers in sentences that only repeat them."""
    lines = []
    for guide, runs in curves.items():
        name = next(iter(data.right(runs[0][1])))
        best = max(runs, key=lambda run: data.right(run[1])[name]["share"])
        most = percent(data.right(best[1])[name], 0)
        text = f"{guide}: the most pictures, {most} percent, are right ({name}) at {best[0]:g}."
        (a, first), (b, last) = runs[0], runs[-1]
        for cost, number in data.costs:
            least = min(runs, key=lambda run: number(run[1]))
            text += (
                f" The {cost} is {number(first):.2f} at {a:g}, {number(last):.2f} at {b:g}, and "
                f"least at {least[0]:g}, {number(least[1]):.2f}."
            )
        lines.append(text)
    return "\n\n".join(lines)


def _write(out: pathlib.Path, work: pathlib.Path, args: argparse.Namespace) -> None:
    """The page and its plot, from the runs' files."""
    data, curves = DATA[args.data], dict[str, list[tuple[float, Result]]]()
    for row in json.loads((work / "sweep.json").read_text()):
        result = json.loads((work / row["name"] / "result.json").read_text())
        guide = "CLIP" if row["curve"].startswith("CLIP") else "classifier-free"
        curves.setdefault(guide, []).append((row["guidance_scale"], result))
    for runs in curves.values():
        runs.sort(key=lambda run: run[0])
    first = next(iter(curves.values()))[0][1]
    of = lambda x: {
        f"{name}, {guide}" if len(curves) > 1 else name: [
            (x(scale, r), 100 * data.right(r)[name]["share"], f"{scale:g}") for scale, r in runs
        ]
        for guide, runs in curves.items()
        for name in list(data.right(first))[: data.plotted]
    }
    panels = [plots.Panel("scale", "right, %", of(lambda s, r: s))]
    for cost, number in data.costs:
        panels.append(plots.Panel(cost, "right, %", of(lambda s, r, number=number: number(r))))
    plots.panels(out.with_suffix(".png"), panels)
    base = first["sampling"]["base"]
    each = f"{data.repeats} pictures of each" if data.repeats > 1 else "a picture of each"
    about = (MADE + data.about).format(
        model=args.model, clip=f" --clip {pathlib.Path(args.clip).name}" if args.clip else "",
        more="" if args.data == "shapes" else f" --data {args.data} --n {args.n}",
        n=first["n"], captions=first["n"] // data.repeats, each=each,
        seed=args.seed, preset=args.preset, sampler=base["sampler"], steps=base["steps"],
        sha256=first["model_sha256"][:16],
    )  # fmt: skip
    head = ("guided by", "scale", *data.right(first), *data.columns(first))
    rows = [
        (guide, f"{scale:g}", *(percent(s, 0) for s in data.right(r).values()),
         *data.columns(r).values())
        for guide, runs in curves.items() for scale, r in runs
    ]  # fmt: skip
    blocks = [
        about,
        picture(out.with_suffix(".png").name, "alignment against scale and costs"),
        seen(data, curves),
        table(rows, head),
    ]
    write_page(out, "Guidance: alignment against diversity", blocks)


def run_sweep(data: Data, args: argparse.Namespace) -> None:
    """Draws and measures what is missing of the sweep in --work."""
    model = _packed(args.model, args.clip, args.work) if args.clip else args.model
    cache = cache_folder()
    folders = setup.Folders(cache / "models", cache / "data")
    protocol = protocols.open_protocol(data.protocol, n=args.n, data_dir=folders.data)
    reader = (args.clip or args.model) if args.data == "emoji" else None
    options = {"preset": args.preset, "seed": args.seed, "upsample": False}
    evaluation = setup.Setup(
        protocol, setup.JudgeNames(data.features, clip=reader), model, args.work, options,
        int(args.batch_size), folders,
    )  # fmt: skip
    clip_scales = args.clip_scales.split(",") if args.clip else ()
    runs = sweeps.combinations(args.scales.split(","), clip_scales)
    evaluator, glide = evaluation.open_evaluator(), glide_jax.load(model, cache=cache)
    named, results = {setup.run_name(run): run for run in runs}, {}
    for name, result in evaluation.evaluate(glide, runs, evaluator, progress):
        results[name] = named[name], result
    sweeps.write_sweep_report(args.work, f"{glide.loaded.name}, {protocol.name}", results)


def main() -> None:
    """Runs what is missing of the sweep, then writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shapes", help="a directory or a name")
    parser.add_argument("--clip", help="a directory or a name, of a model with a noise-aware CLIP")
    parser.add_argument("--data", default="shapes", choices=list(DATA))
    parser.add_argument("--scales", default=SCALES)
    parser.add_argument("--clip-scales", default=CLIP_SCALES)
    parser.add_argument("--n", default="5", help="captions of each group, 8 of shapes, 3 of emoji")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--batch-size", default="16")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/guidance"))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    run_sweep(DATA[args.data], args)
    _write(args.out, args.work, args)


if __name__ == "__main__":
    main()
