"""The report of a sweep: every metric over the guidance scale, and the paper's trade-offs."""

import pathlib
from collections.abc import Mapping
from typing import Any

from glide_jax.evaluation import evaluate, plots, report
from glide_jax.evaluation.report import Block, Heading, Picture, Table, Text

OVER_SCALE = (
    "fid", "frechet_distance", "kernel_distance", "inception_score", "class_score", "precision",
    "recall", "clip_score", "r_precision", "all_right", "binding_right", "colours_right",
    "shapes_right", "count_right", "position_spread", "extent_spread", "colour_spread",
)  # fmt: skip


def rows_of(results: Mapping[str, tuple[Mapping[str, Any], dict[str, Any]]]) -> list[dict]:
    """What plots need of each run: its name, its curve, its guidance scale, its numbers.

    A run guided by CLIP is on a curve of its own, over the scale of CLIP's gradient.
    """
    rows = []
    for name, (run, result) in results.items():
        base = result["sampling"]["base"]
        others = [str(run[key]) for key in ("sampler", "steps") if key in run]
        curve = ", ".join(others) or f"{base['sampler']}, {base['steps']} steps"
        clip_scale = run.get("clip_guidance_scale")
        rows.append({
            "name": name,
            "curve": curve if clip_scale is None else f"CLIP, {curve}",
            "guidance_scale": float(base["guidance_scale"] if clip_scale is None else clip_scale),
            "numbers": evaluate.numbers(result),
        })  # fmt: skip
    return rows


def write(
    folder: pathlib.Path,
    title: str,
    results: Mapping[str, tuple[Mapping[str, Any], dict[str, Any]]],
) -> list[pathlib.Path]:
    """Writes the curves, sweep.json and both forms of the report; returns all their paths.

    Args:
        folder: of the sweep; each run lies in a folder of its name in it.
        title: of the report.
        results: by name, what was chosen and what came out.
    """
    rows = rows_of(results)
    known = [name for name in OVER_SCALE if all(name in row["numbers"] for row in rows)]
    pictures = plots.trade_offs(folder, rows)
    for name in known:
        path = folder / f"over-scale-{name}.png"
        plots.over_scale(path, name, rows)
        pictures.append(path)
    evaluate.write_json(folder / "sweep.json", rows)
    cells = [
        (name, row["guidance_scale"], *(row["numbers"][metric] for metric in known))
        for name, row in zip(results, rows, strict=True)
    ]
    head = ("run", "guidance scale", *(name.replace("_", " ") for name in known))
    blocks: list[Block] = [
        Text("One run for each combination; everything chosen is in its folder's result.json."),
        Table(head, cells),
        Heading("Curves"),
        *(Picture(path.name, path.stem.replace("_", " ")) for path in pictures),
        Heading("Pictures"),
        *(Picture(f"{name}/sheet.png", name) for name in results),
    ]
    return [*pictures, folder / "sweep.json", *report.write(folder, title, blocks)]
