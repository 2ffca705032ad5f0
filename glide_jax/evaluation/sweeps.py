"""Sweeps: runs over guidance scales and other options, and the report with their curves."""

import functools
import itertools
import operator
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from glide_jax.evaluation import plots
from glide_jax.evaluation.evaluate import scalars_of
from glide_jax.evaluation.report import picture, write_json, write_report
from glide_jax.tables import table

OVER_SCALE = (
    "fid", "frechet_distance", "kernel_distance", "inception_score", "class_score", "precision",
    "recall", "clip_score", "r_precision", "all_right", "binding_right", "colours_right",
    "shapes_right", "count_right", "position_spread", "extent_spread", "colour_spread",
)  # fmt: skip

# Options that a curve runs over, or that say by their values alone which they are.
_ON_CURVES = ("guidance_scale", "clip_guidance_scale", "steps", "sampler")

Runs = Mapping[str, tuple[Mapping[str, Any], dict[str, Any]]]  # name: (options, result)


def combinations(
    guidance_scales: Sequence[Any],
    clip_guidance_scales: Sequence[Any] = (),
    steps: Sequence[Any] = (),
    samplers: Sequence[Any] = (),
    others: Mapping[str, Sequence[Any]] | None = None,
) -> list[dict[str, Any]]:
    """Sampling options of every combination.

    Args:
        guidance_scales: scales of classifier-free guidance; the model's own if there are no scales.
        clip_guidance_scales: scales of guidance by the model's CLIP, each a run besides.
        steps: numbers of steps or respacings; the model's own if empty.
        samplers: names of samplers; the model's own if empty.
        others: values of further options by their names.
    """
    guides = [{"guidance_scale": scale} for scale in guidance_scales]
    for scale in clip_guidance_scales:  # the curve begins without any guidance
        nothing = {"guidance_scale": 1} if scale in (0, "0", "0.0") else {}
        guides.append({**nothing, "clip_guidance_scale": scale})
    parts = (
        guides or [{}],
        [{"steps": value} for value in steps] or [{}],
        [{"sampler": value} for value in samplers] or [{}],
        *([{name: value} for value in values] for name, values in (others or {}).items()),
    )
    return [functools.reduce(operator.or_, chosen) for chosen in itertools.product(*parts)]


def rows_of(results: Runs) -> list[dict[str, Any]]:
    """Name, curve, guidance scale and numbers of each run, for plots.

    A run guided by CLIP is on a curve of its own, over the scale of CLIP's gradient.
    """
    rows = []
    for name, (run, result) in results.items():
        base = result["sampling"]["base"]
        plain = [str(run[key]) for key in ("sampler", "steps") if key in run]
        named = [f"{key.replace('_', ' ')} {run[key]}" for key in run if key not in _ON_CURVES]
        curve = ", ".join(plain + named) or f"{base['sampler']}, {base['steps']} steps"
        clip_scale = run.get("clip_guidance_scale")
        rows.append({
            "name": name,
            "curve": curve if clip_scale is None else f"CLIP, {curve}",
            "guidance_scale": float(base["guidance_scale"] if clip_scale is None else clip_scale),
            "numbers": scalars_of(result),
        })  # fmt: skip
    return rows


def write_sweep_report(folder: pathlib.Path, title: str, results: Runs) -> list[pathlib.Path]:
    """Writes the curves, sweep.json and both forms of the report; returns all their paths.

    Args:
        folder: the sweep's folder, in which each run lies in a folder of its name.
        title: the report's heading.
        results: options and result of each run by its name.
    """
    rows = rows_of(results)
    known = [name for name in OVER_SCALE if all(name in row["numbers"] for row in rows)]
    files = plots.trade_offs(folder, rows) + [
        plots.over_scale(folder, name, rows) for name in known
    ]
    write_json(folder / "sweep.json", rows)
    cells = [
        (row["name"], row["guidance_scale"], *(row["numbers"][metric] for metric in known))
        for row in rows
    ]
    blocks = [
        "One run for each combination; everything chosen is in its folder's result.json.",
        table(cells, ("run", "guidance scale", *(name.replace("_", " ") for name in known))),
        "## Curves",
        *(picture(path.name, path.stem.replace("_", " ")) for path in files),
        "## Pictures",
        *(picture(f"{name}/sheet.png", name) for name in results),
    ]
    return [*files, folder / "sweep.json", *write_report(folder, title, blocks)]
