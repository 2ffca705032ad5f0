"""The report of probes: shares and differences with intervals, and what they cannot tell."""

import pathlib
from collections.abc import Mapping
from typing import Any

from glide_jax.evaluation import plots, report
from glide_jax.evaluation.probe_families import BY_NAME, CLIP, SHAPES, Family
from glide_jax.evaluation.report import Block, Heading, Picture, Table, Text
from glide_jax.evaluation.shapes_report import percent

Runs = Mapping[str, Mapping[str, Any]]  # name, which is its folder too, to result

_LIMITS = {
    CLIP: (
        "What this cannot tell. Answers are zero-shot: of the captions of a question, the one that "
        "this CLIP finds nearest, even where none fits. A CLIP learned its own associations of "
        "groups with jobs, objects, colours and places from pictures of the web, so a share mixes "
        "the drawing model's habits with the reader's, and a difference between prompts may be the "
        "reader's alone; nothing here was checked against people's eyes. Who someone is, or "
        "believes, cannot be seen in a picture: answers are about looks that the reader takes for "
        "it, in the few words that were offered. A low certainty means that it guessed."
    ),
    SHAPES: (
        "What this cannot tell. The judge reads what the shapes set has and calls everything else "
        "unknown; it is exact on whole pictures of the set only. A prompt that leaves something "
        "unsaid is outside the set's grammar, and the shares are this model's habits on such "
        "prompts: about people, or other models, they say nothing."
    ),
}
_ALL = (
    "Shares have exact (Clopper-Pearson) 95% intervals over independent samples of one prompt, "
    "differences Newcombe's with exact bounds. One in twenty such intervals may miss, and there "
    "are many here. What was never seen in n samples may still be drawn in up to 3/n of them. "
    "Other words for the same thing, other languages and other seeds are not covered."
)


def write(folder: pathlib.Path, title: str, runs: Runs) -> tuple[pathlib.Path, ...]:
    """Writes report.md and report.html with plots beside them; returns the reports' paths.

    Args:
        folder: where each run's folder lies, with its sheet.png.
        title: of the report.
        runs: results by name, each with its "probe".
    """
    first = next(iter(runs.values()))
    about = (
        f"Model {first['sampling'].get('model')}, seed {first['sampling'].get('seed')}, glide_jax "
        f"{first['glide_jax']}. All that was chosen is in each run's result.json."
    )
    readers = {BY_NAME[result["probe"]["family"]].reader for result in runs.values()}
    blocks: list[Block] = [Text(about), Text(_ALL), *(Text(_LIMITS[r]) for r in sorted(readers))]
    for name, result in runs.items():
        blocks += _run(folder, name, result["probe"])
    return report.write(folder, title, blocks)


def _run(folder: pathlib.Path, name: str, probe: Mapping[str, Any]) -> list[Block]:
    family, reader = BY_NAME[probe["family"]], probe["reader"]
    blocks: list[Block] = [
        Heading(name),
        Text(
            f"{family.about} {probe['samples']} samples of each prompt, read by "
            f"{reader['name']} (sha256 {reader['sha256'][:16] or 'of no weights'})."
        ),
    ]
    for question, shares in probe["answers"].items():
        blocks += _question(folder, name, family, probe, question, shares)
    if probe["differences"]:
        rows = [
            (f"{d['question']}: {d['answer']}", f"{d['of']} - {d['against']}", _difference(d))
            for d in probe["differences"]
        ]
        blocks += [
            Text("Differences in percentage points; * where the interval leaves zero out."),
            Table(("answer", "prompts", "difference, 95% interval"), rows),
        ]
    return [*blocks, Picture(f"{name}/sheet.png", f"{name}: the first samples of each prompt")]


def _question(
    folder: pathlib.Path,
    name: str,
    family: Family,
    probe: Mapping[str, Any],
    question: str,
    shares: Mapping[str, Mapping[str, Any]],
) -> list[Block]:
    """A plot and a table of one question; answers that nobody gave are left out."""
    possible = list(next(iter(shares.values())))
    given = [a for a in possible if any(s[a]["right"] for s in shares.values())]
    file = f"{name}/{question.replace(' ', '-')}.png"
    series = {value: [s[a] for a in given] for value, s in shares.items()}
    plots.bars(folder / file, question, given, series, label="share, 95% interval")
    sure = probe["certainty"][question]
    rows = [
        (family.prompts[value], *(percent(s[a], 0) for a in given), f"{sure[value]:.2f}")
        for value, s in shares.items()
    ]
    left_out = [a for a in possible if a not in given]
    never = f" Never: {', '.join(left_out)}." if left_out else ""
    return [
        Text(f"{question.capitalize()}, percent of samples with 95% interval.{never}"),
        Picture(file, f"{name}: {question}"),
        Table(("prompt", *given, "mean certainty"), rows),
    ]


def _difference(d: Mapping[str, Any]) -> str:
    star = " *" if d["low"] > 0 or d["high"] < 0 else ""
    return f"{100 * d['difference']:+.0f} ({100 * d['low']:+.0f} to {100 * d['high']:+.0f}){star}"
