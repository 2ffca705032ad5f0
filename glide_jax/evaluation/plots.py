"""Plots of results, by matplotlib."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from glide_jax.evaluation.metrics.intervals import Share
from glide_jax.extras import extra
from glide_jax.files import replacing

# The paper's figure 6: the trade-offs as guidance grows. x, y of each curve.
CURVES = (
    (("fid",), ("inception_score",)),
    (("frechet_distance",), ("class_score",)),
    (("recall",), ("precision",)),
    (("clip_score",), ("fid", "frechet_distance")),
)

Curves = Mapping[str, Sequence[tuple[float, float, str]]]  # points (x, y, label) by name, in order


class Panel(NamedTuple):
    """Curves with the labels of their axes."""

    x: str
    y: str
    curves: Curves


def check() -> None:
    """Looks for what draws plots, before the hours of work that end in them.

    Raises:
        InputError: it is not installed.
    """
    extra("matplotlib.figure")


def bars(
    path: pathlib.Path,
    title: str,
    groups: Sequence[str],
    series: Mapping[str, Sequence[Share]],
    *,
    label: str = "share right, 95% interval",
) -> None:
    """Plots shares with their intervals: a cluster for each group, a bar for each of a series.

    Args:
        path: the PNG file.
        title: the plot's title.
        groups: names of the clusters.
        series: for each name in the legend a share for every group.
        label: the label of the y axis.
    """
    figure, axes = _figure((9, 4))
    width = 0.8 / max(1, len(series))
    for k, (name, shares) in enumerate(series.items()):
        x = [i + (k - (len(series) - 1) / 2) * width for i in range(len(groups))]
        y = [share["share"] for share in shares]
        # Rounding may put a bound a hair on the wrong side.
        errors = [
            [max(0.0, s["share"] - s["low"]) for s in shares],
            [max(0.0, s["high"] - s["share"]) for s in shares],
        ]
        axes.bar(x, y, width, yerr=errors, capsize=2, label=name, error_kw={"linewidth": 0.8})
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
    """Plots a bar with its quartiles for each of a series, by name, and a line at 1.

    Args:
        path: the PNG file.
        title: the plot's title.
        names: one for each row of bars.
        series: for each name in the legend (median, lower, upper quartile) of every row, or None.
    """
    height = 0.8 / max(1, len(series))
    figure, axes = _figure((8, 1.2 + 0.35 * len(names) * max(1, len(series))))
    for k, (name, rows) in enumerate(series.items()):
        there = [(i, ratio) for i, ratio in enumerate(rows) if ratio is not None]
        y = [i + (k - (len(series) - 1) / 2) * height for i, _ in there]
        middle = [ratio[0] for _, ratio in there]
        errors = [[r[0] - r[1] for _, r in there], [r[2] - r[0] for _, r in there]]
        drawn = axes.barh(y, middle, height, xerr=errors, capsize=2, label=f"against {name}")
        axes.bar_label(drawn, fmt="%.2f", padding=8, fontsize=8)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="times as fast, median and quartiles of paired rounds", title=title)
    axes.legend(fontsize=8)
    _save(figure, path)


def panels(path: pathlib.Path, plots: Sequence[Panel]) -> pathlib.Path:
    """Plots curves side by side; the first panel names the curves of all. Returns `path`."""
    figure, axes = _figure((4.5 * len(plots), 4.5), len(plots))
    for axis, panel in zip([axes] if len(plots) == 1 else axes, plots, strict=True):
        for name, points in panel.curves.items():
            axis.plot([p[0] for p in points], [p[1] for p in points], marker="o", label=name)
            for x, y, label in points:
                axis.annotate(label, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=8)
        axis.set(xlabel=panel.x.replace("_", " "), ylabel=panel.y.replace("_", " "))
    if len(plots[0].curves) > 1:  # below, where it hides no point
        labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(*labels, loc="outside lower center", ncols=min(3, len(plots)), fontsize=8)
    _save(figure, path)
    return path


def trade_offs(folder: pathlib.Path, runs: Sequence[Mapping[str, Any]]) -> list[pathlib.Path]:
    """Plots each pair of metrics in CURVES that the runs have, labelled by guidance scale.

    Args:
        folder: for the plots.
        runs: each with "curve", a name; "guidance_scale"; and "numbers", its metrics.
    """
    paths = []
    for xs, ys in CURVES:
        known = lambda names: next((n for n in names if all(n in r["numbers"] for r in runs)), None)
        x, y = known(xs), known(ys)
        if x is not None and y is not None:
            curves = _curves(runs, lambda run, x=x: run["numbers"][x], y)
            paths.append(panels(folder / f"{x}-{y}.png", [Panel(x, y, curves)]))
    return paths


def over_scale(
    folder: pathlib.Path, metric: str, runs: Sequence[Mapping[str, Any]]
) -> pathlib.Path:
    """Plots one metric over the guidance scale, a curve for every other choice.

    Args:
        folder: for the plot.
        metric: a name in every run's "numbers".
        runs: see `trade_offs`.
    """
    curves = _curves(runs, lambda run: run["guidance_scale"], metric)
    return panels(folder / f"over-scale-{metric}.png", [Panel("guidance scale", metric, curves)])


def _curves(
    runs: Sequence[Mapping[str, Any]], x: Callable[[Mapping[str, Any]], float], y: str
) -> Curves:
    curves: dict[str, list[tuple[float, float, str]]] = {}
    for run in sorted(runs, key=lambda run: run["guidance_scale"]):
        point = (x(run), run["numbers"][y], f"{run['guidance_scale']:g}")
        curves.setdefault(run["curve"], []).append(point)
    return curves


def _figure(size: tuple[float, float], columns: int = 1) -> tuple[Any, Any]:
    figure = extra("matplotlib.figure").Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(1, columns)


def _save(figure: Any, path: pathlib.Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
