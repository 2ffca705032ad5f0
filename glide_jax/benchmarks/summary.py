"""A benchmark's results as Markdown, as JSON and as a plot."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from glide_jax.benchmarks.bench import OURS, Row
from glide_jax.evaluation import plots
from glide_jax.files import replacing
from glide_jax.tables import table


def limit(rows: Sequence[Row]) -> float | None:
    """TFLOP/s of the faster of the measured limits; None where they were not measured."""
    found = [row.tflops() for row in rows if row.name.startswith("limit")]
    return max(found, default=None)


def markdown(rows: Sequence[Row]) -> str:
    """Medians with spreads, arithmetic, and ratios to every other side; then time by operation."""
    top = limit(rows)
    header = ("what", "side", "median s", "spread", "TFLOP/s", "of the limit", "times as fast",
              "error")  # fmt: skip
    cells = []
    for row in rows:
        for side, times in row.times.items():
            speed = row.tflops(side) if row.flops else None
            cells.append((
                row.name,
                side,
                times.median,
                f"{times.spread:.0%}",
                "" if speed is None else f"{speed:.3g}",
                "" if speed is None or top is None else f"{speed / top:.0%}",
                "" if side == OURS else _ratio(row, side),
                "" if row.error is None or side != OURS else f"{row.error:.1e}",
            ))  # fmt: skip
    refused = [f"- {row.name}: {why}" for row in rows for why in row.refused.values()]
    blocks = [table(cells, header, "llrrrrrr")]
    blocks += [_operations(row) for row in rows if row.operations]
    if refused:
        blocks.append("Not timed:\n\n" + "\n".join(refused))
    return "\n\n".join(blocks)


def _operations(row: Row) -> str:
    """The seconds of one row by kind of operation."""
    seconds = row.operations or {}
    total = sum(seconds.values())
    cells = [(kind, f"{1e3 * part:,.1f}", f"{part / total:.0%}") for kind, part in seconds.items()]
    return table(cells, (row.name, "ms", "share"), "lrr")


def _ratio(row: Row, side: str) -> str:
    middle, low, high = row.times[OURS].ratio(row.times[side])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def as_json(rows: Sequence[Row], about: Mapping[str, Any]) -> dict[str, Any]:
    """All rounds' seconds, so that other statistics can be made of them."""
    quartiles = lambda ratio: dict(zip(("median", "low", "high"), ratio, strict=True))
    entries = []
    for row in rows:
        others = {side: times for side, times in row.times.items() if side != OURS}
        entry = {
            "name": row.name,
            "flops": row.flops,
            "error": row.error,
            "seconds": {side: list(times.seconds) for side, times in row.times.items()},
            "ratios": {s: quartiles(row.times[OURS].ratio(times)) for s, times in others.items()},
        }
        more = {"operations": dict(row.operations or {}), "refused": dict(row.refused)}
        entries.append(entry | {name: value for name, value in more.items() if value})
    return {**about, "limit_tflops": limit(rows), "rows": entries}


def write_summary(
    folder: pathlib.Path, rows: Sequence[Row], about: Mapping[str, Any]
) -> list[pathlib.Path]:
    """Writes bench.json, bench.md and, where another side was measured, bench.png.

    Args:
        folder: made if it is not there.
        rows: the measurements.
        about: facts of the machine and the options, see `machine.facts`.

    Returns:
        The paths of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items() if value is not None)
    texts = {
        "bench.json": json.dumps(as_json(rows, about), indent=1),
        "bench.md": f"# Benchmark\n\n{facts}\n\n{markdown(rows)}",
    }
    for name, text in texts.items():
        with replacing(folder / name) as path:
            path.write_text(f"{text}\n", encoding="utf-8")
    written = [folder / name for name in texts]
    compared = [row for row in rows if len(row.times) > 1]
    if compared:
        written.append(folder / "bench.png")
        ratio = lambda row, side: (
            row.times[OURS].ratio(row.times[side]) if side in row.times else None
        )
        sides = sorted({side for row in compared for side in row.times} - {OURS})
        plots.ratios(
            written[-1],
            "Times as fast as the reference",
            [row.name for row in compared],
            {side: [ratio(row, side) for row in compared] for side in sides},
        )
    return written
