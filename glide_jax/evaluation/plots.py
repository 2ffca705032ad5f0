"""Plots of results, by matplotlib."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from glide_jax.extras import extra
from glide_jax.files import replacing

# The paper's figure 6: what is bought with what as guidance grows. x, y of each curve.
CURVES = (
    (("fid",), ("inception_score",)),
    (("frechet_distance",), ("class_score",)),
    (("recall",), ("precision",)),
    (("clip_score",), ("fid", "frechet_distance")),
)


def bars(
    path: pathlib.Path,
    title: str,
    groups: Sequence[str],
    series: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    label: str = "share right, 95% interval",
) -> None:
    """Shares with their intervals: a cluster for each group, a bar for each of a series."""
    figure = extra("matplotlib.figure").Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(series))
    for k, (name, shares) in enumerate(series.items()):
        x = [i + (k - (len(series) - 1) / 2) * width for i in range(len(groups))]
        y = [share["share"] for share in shares]
        # Rounding may put a bound a hair on the wrong side.
        around = [
            [max(0.0, s["share"] - s["low"]) for s in shares],
            [max(0.0, s["high"] - s["share"]) for s in shares],
        ]
        axes.bar(x, y, width, yerr=around, capsize=2, label=name, error_kw={"linewidth": 0.8})
    axes.set_xticks(range(len(groups)), groups)
    axes.set(ylim=(0, 1.02), ylabel=label, title=title)
    axes.legend()
    _save(figure, path)


def ratios(
    path: pathlib.Path,
    title: str,
    names: Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float] | None]],
) -> None:
    """A bar with its quartiles for each of a series, by name, and a line at 1."""
    height = 0.8 / max(1, len(series))
    size = (8, 1.2 + 0.35 * len(names) * max(1, len(series)))
    figure = extra("matplotlib.figure").Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for k, (name, found) in enumerate(series.items()):
        there = [(i, ratio) for i, ratio in enumerate(found) if ratio is not None]
        y = [i + (k - (len(series) - 1) / 2) * height for i, _ in there]
        middle = [ratio[0] for _, ratio in there]
        around = [[r[0] - r[1] for _, r in there], [r[2] - r[0] for _, r in there]]
        bars = axes.barh(y, middle, height, xerr=around, capsize=2, label=f"against {name}")
        axes.bar_label(bars, fmt="%.2f", padding=8, fontsize=8)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="times as fast, median and quartiles of paired rounds", title=title)
    axes.legend(fontsize=8)
    _save(figure, path)


def lines(
    path: pathlib.Path,
    x: str,
    y: str,
    curves: Mapping[str, Sequence[tuple[float, float, str]]],
) -> None:
    """Curves through points (x, y, label) in the order given."""
    panels(path, [Panel(x.replace("_", " "), y.replace("_", " "), curves)])


class Panel(NamedTuple):
    """One of several plots in a picture."""

    x: str
    y: str
    curves: Mapping[str, Sequence[tuple[float, float, str]]]  # as of `lines`


def panels(path: pathlib.Path, plots: Sequence[Panel]) -> None:
    """Plots side by side, each as of `lines`; the first names the curves of all."""
    size = (4.5 * len(plots), 4.5)
    figure = extra("matplotlib.figure").Figure(figsize=size, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(plots), squeeze=False)[0], plots, strict=True):
        _draw(axes, panel)
    if len(plots[0].curves) > 1:  # below, where it hides no point
        labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(*labels, loc="outside lower center", ncols=min(3, len(plots)), fontsize=8)
    _save(figure, path)


def _draw(axes: Any, panel: Panel) -> None:
    for name, points in panel.curves.items():
        axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", label=name)
        for px, py, label in points:
            axes.annotate(label, (px, py), textcoords="offset points", xytext=(4, 4), fontsize=8)
    axes.set(xlabel=panel.x, ylabel=panel.y)


def trade_offs(folder: pathlib.Path, runs: Sequence[Mapping[str, Any]]) -> list[pathlib.Path]:
    """A plot of each pair of metrics in CURVES that the runs have, labelled by guidance scale.

    Args:
        folder: for the plots.
        runs: each with "curve", a name; "guidance_scale"; and "numbers", its metrics.
    """
    paths = []
    for xs, ys in CURVES:
        known = lambda names: next((n for n in names if all(n in r["numbers"] for r in runs)), None)
        x, y = known(xs), known(ys)
        if x is None or y is None:
            continue
        path = folder / f"{x}-{y}.png"
        lines(path, x, y, _curves(runs, lambda run, x=x: run["numbers"][x], y))
        paths.append(path)
    return paths


def over_scale(path: pathlib.Path, metric: str, runs: Sequence[Mapping[str, Any]]) -> None:
    """One metric over the guidance scale, a curve for every other choice."""
    lines(path, "guidance scale", metric, _curves(runs, lambda run: run["guidance_scale"], metric))


def _curves(
    runs: Sequence[Mapping[str, Any]], x: Any, y: str
) -> dict[str, list[tuple[float, float, str]]]:
    curves: dict[str, list[tuple[float, float, str]]] = {}
    for run in sorted(runs, key=lambda run: run["guidance_scale"]):
        point = (x(run), run["numbers"][y], f"{run['guidance_scale']:g}")
        curves.setdefault(run["curve"], []).append(point)
    return curves


def _save(figure: Any, path: pathlib.Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
