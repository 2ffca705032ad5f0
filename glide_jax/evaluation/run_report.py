"""The report of one protocol's runs, one for each guidance scale or other choice."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from glide_jax.evaluation import plots, report
from glide_jax.evaluation.report import Block, Heading, Picture, Table, Text
from glide_jax.evaluation.shapes_report import ASPECTS, Share, percent

Runs = Mapping[str, Mapping[str, Any]]  # name, which is its folder too, to result


def write(folder: pathlib.Path, title: str, runs: Runs, judge: Mapping[str, Share] | None = None):
    """Writes report.md and report.html with plots beside them.

    Args:
        folder: where each run's folder lies, with its sheet.png.
        title: of the report.
        runs: results by name.
        judge: how far the shapes judge is right, if it judged.

    Returns:
        The paths of both reports.
    """
    blocks: list[Block] = [Text(_about(next(iter(runs.values()))))]
    if any("shapes" in result for result in runs.values()):
        blocks += _shapes(folder, runs)
    if judge is not None:
        rows = [(name, f"{s['right']} of {s['n']}", percent(s)) for name, s in judge.items()]
        blocks += [
            Heading("How far the judge is right"),
            Text("Pictures that it accepts; their captions are true, but for the last row."),
            Table(("pictures", "accepted", "percent, 95% interval"), rows),
        ]
    for part in ("features", "clip"):
        if any(part in result for result in runs.values()):
            blocks += _numbers(part, runs)
    blocks += [Heading("Pictures"), Text("Evenly over all prompts, none left out or chosen.")]
    blocks += [Picture(f"{name}/sheet.png", name) for name in runs]
    return report.write(folder, title, blocks)


def _about(result: Mapping[str, Any]) -> str:
    sampling = result["sampling"]
    return (
        f"Protocol {result['protocol']}, model {sampling.get('model')}, {result['n']} prompts "
        f"(sha256 {result['prompts_sha256'][:16]}), seed {sampling.get('seed')}, glide_jax "
        f"{result['glide_jax']}. All that was chosen is in each run's result.json."
    )


def _shapes(folder: pathlib.Path, runs: Runs) -> list[Block]:
    blocks: list[Block] = []
    for split, title in (("train", "Combinations seen in training"), ("held_out", "Held out")):
        found = {name: result["shapes"].get(f"{split}/*", {}) for name, result in runs.items()}
        aspects = [a for a in ASPECTS if all(a in shares for shares in found.values())]
        file = f"shapes-{split}.png"
        series = {name: [shares[a] for a in aspects] for name, shares in found.items()}
        plots.bars(folder / file, title, aspects, series)
        rows = [(name, *(percent(shares[a]) for a in aspects)) for name, shares in found.items()]
        blocks += [
            Heading(title),
            Picture(file, title),
            Text("Percent right, exact 95% intervals; an aspect counts where a caption states it."),
            Table(("run", *aspects), rows),
        ]
    for name, result in runs.items():
        kinds = [group for group in result["shapes"] if "*" not in group]
        rows = [
            (kind, *(percent(s[a]) if a in (s := result["shapes"][kind]) else "" for a in ASPECTS))
            for kind in kinds
        ]
        blocks += [Heading(f"By kind of caption, {name}"), Table(("captions", *ASPECTS), rows)]
    return blocks


def _numbers(part: str, runs: Runs) -> list[Block]:
    found = {name: result[part] for name, result in runs.items() if part in result}
    first = next(iter(found.values()))
    names = [key for key, value in first.items() if isinstance(value, int | float)]
    rows: list[Sequence[Any]] = [
        (name, *(f.get(key, "") for key in names)) for name, f in found.items()
    ]
    extractor = first["extractor"]
    blocks: list[Block] = [
        Heading(f"By {extractor['name']}"),
        Text(f"sha256 {extractor['sha256']}"),
        Table(("run", *(name.replace("_", " ") for name in names)), rows),
    ]
    groups = first.get("by_group", {})
    if len(groups) > 1:
        against = first["r_precision_candidates"] - 1
        rows = [
            (name, *(percent(f["by_group"][group]["own_caption_first"]) for group in groups))
            for name, f in found.items()
        ]
        blocks += [
            Text(f"Pictures whose own caption is nearer than {against} others, in percent:"),
            Table(("run", *groups), rows),
        ]
    return blocks
