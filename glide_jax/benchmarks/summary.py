"""A benchmark's results as a table, as JSON, as a plot."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from glide_jax.benchmarks.bench import OURS, Row
from glide_jax.evaluation import plots
from glide_jax.files import replacing


def limit(rows: Sequence[Row]) -> float | None:
    """TFLOP/s of the faster of the measured limits; None where they were not measured."""
    found = [row.tflops() for row in rows if row.name.startswith("limit")]
    return max(found, default=None)


def table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table: medians with spreads, arithmetic, and ratios to every other side."""
    top = limit(rows)
    lines = [
        "| what | side | median s | spread | TFLOP/s | of the limit | times as fast | error |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        for side, times in row.times.items():
            speed = row.tflops(side) if row.flops else None
            share = None if speed is None or top is None else f"{speed / top:.0%}"
            ratio = "" if side == OURS else _ratio(row, side)
            error = "" if row.error is None or side != OURS else f"{row.error:.1e}"
            cells = [
                row.name,
                side,
                f"{times.median:.4g}",
                f"{times.spread:.0%}",
                "" if speed is None else f"{speed:.3g}",
                share or "",
                ratio,
                error,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, *(line for row in rows if row.operations for line in _operations(row))]


def _operations(row: Row) -> list[str]:
    """Where the time of one row goes."""
    spent = row.operations or {}
    total = sum(spent.values())
    lines = ["", f"| {row.name} | ms | share |", "|---|---:|---:|"]
    return [
        *lines,
        *(f"| {kind} | {1e3 * part:,.1f} | {part / total:.0%} |" for kind, part in spent.items()),
    ]


def _ratio(row: Row, side: str) -> str:
    middle, low, high = row.times[OURS].ratio(row.times[side])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def as_json(rows: Sequence[Row], about: Mapping[str, Any]) -> dict[str, Any]:
    """All rounds' seconds, so that other statistics can be made of them."""
    entries = []
    for row in rows:
        ratios = {
            side: dict(zip(("median", "low", "high"), row.times[OURS].ratio(times), strict=True))
            for side, times in row.times.items()
            if side != OURS
        }
        seconds = {side: list(times.seconds) for side, times in row.times.items()}
        entry = dict(
            name=row.name, flops=row.flops, error=row.error, seconds=seconds, ratios=ratios
        )
        entries.append(entry | ({"operations": dict(row.operations)} if row.operations else {}))
    return {**about, "limit_tflops": limit(rows), "rows": entries}


def write(
    folder: pathlib.Path, rows: Sequence[Row], about: Mapping[str, Any]
) -> list[pathlib.Path]:
    """bench.json, bench.md and, where another side was measured, bench.png; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "bench.json", folder / "bench.md"]
    with replacing(written[0]) as path:
        path.write_text(json.dumps(as_json(rows, about), indent=1) + "\n", encoding="utf-8")
    head = [f"- {name}: {value}" for name, value in about.items() if value is not None]
    with replacing(written[1]) as path:
        lines = ["# Benchmark", "", *head, "", *table(rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    compared = [row for row in rows if len(row.times) > 1]
    if compared:
        written.append(folder / "bench.png")
        sides = {side for row in compared for side in row.times if side != OURS}
        plots.ratios(
            written[-1],
            "Times as fast as the reference",
            [row.name for row in compared],
            {
                side: [row.times[OURS].ratio(row.times[side]) if side in row.times else None
                       for row in compared]
                for side in sorted(sides)
            },
        )  # fmt: skip
    return written
