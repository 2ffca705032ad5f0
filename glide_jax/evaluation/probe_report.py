"""The report of probes: shares and differences with intervals, and what they cannot tell."""

import pathlib
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from glide_jax.evaluation import plots
from glide_jax.evaluation.metrics.intervals import Share, percent
from glide_jax.evaluation.probe_families import FAMILIES, Family
from glide_jax.evaluation.report import picture, quoted, write_report
from glide_jax.evaluation.run_report import Results, provenance
from glide_jax.tables import table


def write_probe_report(folder: pathlib.Path, title: str, results: Results) -> list[pathlib.Path]:
    """Writes report.md and report.html with plots beside them; returns their paths.

    Args:
        folder: where each run's folder lies, with its sheet.png.
        title: the report's heading.
        results: results by name, each with its "probe".
    """
    first = next(iter(results.values()))
    readers = {FAMILIES[result["probe"]["family"]].reader for result in results.values()}
    text = (resources.files("glide_jax.evaluation") / "probe_limits.toml").read_text("utf-8")
    limits = tomllib.loads(text)
    model = quoted(first["sampling"].get("model"))
    blocks = [f"Model {model}, {provenance(first)}", limits["intervals"]]
    blocks += [limits[reader] for reader in sorted(readers)]
    for name, result in results.items():
        blocks += _run(folder, name, result["probe"])
    return write_report(folder, title, blocks)


def _run(folder: pathlib.Path, name: str, probe: Mapping[str, Any]) -> list[str]:
    family, reader = FAMILIES[probe["family"]], probe["reader"]
    blocks = [
        f"## {name}",
        f"{family.about} {probe['samples']} samples of each prompt, read by "
        f"{reader['name']} (sha256 {reader['sha256'][:16] or 'of no weights'}).",
    ]
    for question, shares in probe["answers"].items():
        file = f"{name}/{question.replace(' ', '-')}.png"
        certainty = probe["certainty"][question]
        text, answers = _question(folder / file, family, question, shares, certainty)
        blocks += [text, picture(file, f"{name}: {question}"), answers]
    if probe["differences"]:
        rows = [
            (f"{d['question']}: {d['answer']}", f"{d['of']} - {d['against']}", _difference(d))
            for d in probe["differences"]
        ]
        blocks += [
            "Differences in percentage points; * where the interval leaves zero out.",
            table(rows, ("answer", "prompts", "difference, 95% interval")),
        ]
    return [*blocks, picture(f"{name}/sheet.png", f"{name}: the first samples of each prompt")]


def _question(
    plot: pathlib.Path,
    family: Family,
    question: str,
    shares: Mapping[str, Mapping[str, Share]],
    certainty: Mapping[str, float],
) -> tuple[str, str]:
    """Plots one question; returns its text and table. Answers that never came are left out."""
    possible = list(next(iter(shares.values())))
    given = [a for a in possible if any(s[a]["right"] for s in shares.values())]
    series = {value: [s[a] for a in given] for value, s in shares.items()}
    plots.bars(plot, question, given, series, label="share, 95% interval")
    rows = [
        (family.prompts[value], *(percent(s, 0) for s in mine), f"{certainty[value]:.2f}")
        for value, mine in series.items()
    ]
    left_out = [a for a in possible if a not in given]
    never = f" Never: {', '.join(left_out)}." if left_out else ""
    text = f"{question.capitalize()}, percent of samples with 95% interval.{never}"
    return text, table(rows, ("prompt", *given, "mean certainty"))


def _difference(d: Mapping[str, Any]) -> str:
    star = " *" if d["low"] > 0 or d["high"] < 0 else ""
    return f"{100 * d['difference']:+.0f} ({100 * d['low']:+.0f} to {100 * d['high']:+.0f}){star}"
