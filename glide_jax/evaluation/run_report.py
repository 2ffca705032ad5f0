"""The report of one protocol's runs, one for each guidance scale or other choice."""

import pathlib
from collections.abc import Mapping
from typing import Any

from glide_jax.evaluation import plots
from glide_jax.evaluation.metrics.intervals import Share, percent
from glide_jax.evaluation.report import picture, quoted, write_report
from glide_jax.evaluation.shapes_scores import ASPECTS
from glide_jax.tables import table

Results = Mapping[str, Mapping[str, Any]]  # by the run's name, which is its folder too


def write_run_report(
    folder: pathlib.Path,
    title: str,
    results: Results,
    judge: Mapping[str, Share] | None = None,
) -> list[pathlib.Path]:
    """Writes report.md and report.html with plots beside them; returns their paths.

    Args:
        folder: where each run's folder lies, with its sheet.png.
        title: the report's heading.
        results: results by name.
        judge: the shapes judge's accuracy, if it judged.
    """
    first = next(iter(results.values()))
    about = (
        f"Protocol {first['protocol']}, "
        f"model {quoted(first['sampling'].get('model'))}, {first['n']} "
        f"prompts (sha256 {first['prompts_sha256'][:16]}), {provenance(first)}"
    )
    blocks = [about]
    if any("shapes" in result for result in results.values()):
        blocks += _shapes(folder, results)
    if judge is not None:
        rows = [(name, f"{s['right']} of {s['n']}", percent(s)) for name, s in judge.items()]
        blocks += [
            "## How far the judge is right",
            "Pictures that it accepts; their captions are true, but for the last row.",
            table(rows, ("pictures", "accepted", "percent, 95% interval")),
        ]
    for part in ("features", "clip", "alignment"):
        if any(part in result for result in results.values()):
            blocks += _numbers(part, results)
    blocks += ["## Pictures", "Evenly over all prompts, none left out or chosen."]
    blocks += [picture(f"{name}/sheet.png", name) for name in results]
    return write_report(folder, title, blocks)


def provenance(result: Mapping[str, Any]) -> str:
    """Seed and version of a result, and where everything else is, as the end of a sentence."""
    return (
        f"seed {result['sampling'].get('seed')}, glide_jax {result['glide_jax']}. "
        "All that was chosen is in each run's result.json."
    )


def _shapes(folder: pathlib.Path, results: Results) -> list[str]:
    blocks = []
    for split, title in (("train", "Combinations seen in training"), ("held_out", "Held out")):
        shares = {name: result["shapes"].get(f"{split}/*", {}) for name, result in results.items()}
        aspects = [a for a in ASPECTS if all(a in s for s in shares.values())]
        file = f"shapes-{split}.png"
        series = {name: [s[a] for a in aspects] for name, s in shares.items()}
        plots.bars(folder / file, title, aspects, series)
        blocks += [
            f"## {title}",
            picture(file, title),
            "Percent right, exact 95% intervals; an aspect counts where a caption states it.",
            table([(name, *map(percent, s)) for name, s in series.items()], ("run", *aspects)),
        ]
    for name, result in results.items():
        kinds = {group: s for group, s in result["shapes"].items() if "*" not in group}
        rows = [(k, *(percent(s[a]) if a in s else "" for a in ASPECTS)) for k, s in kinds.items()]
        blocks += [f"## By kind of caption, {name}", table(rows, ("captions", *ASPECTS))]
    return blocks


def _numbers(part: str, results: Results) -> list[str]:
    numbers = {name: result[part] for name, result in results.items() if part in result}
    first = next(iter(numbers.values()))
    names = [key for key, value in first.items() if isinstance(value, int | float)]
    rows = [(name, *(values.get(key, "") for key in names)) for name, values in numbers.items()]
    blocks = [
        f"## By {first['extractor']['name']}",
        f"sha256 {first['extractor']['sha256']}",
        table(rows, ("run", *(name.replace("_", " ") for name in names))),
    ]
    groups = first.get("by_group", {})
    if len(groups) > 1:
        against = first["r_precision_candidates"] - 1
        rows = [
            (name, *(percent(v["by_group"][group]["own_caption_first"]) for group in groups))
            for name, v in numbers.items()
        ]
        for known, title in (("real", "real pictures"), ("shuffled", "real pictures, shuffled")):
            if known in first:
                groups_of = first[known]["by_group"]
                rows.append((title, *(percent(groups_of[g]["own_caption_first"]) for g in groups)))
        blocks += [
            f"Pictures whose own caption is nearer than {against} others, in percent:",
            table(rows, ("run", *map(quoted, groups))),
        ]
    return blocks
