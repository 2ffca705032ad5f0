"""How far a sampler of few steps lands from where many steps would: a measured table.

Samplers without noise follow one flow, so from one x_T there is one right picture, and the distance
to it is an error of the steps alone. Samplers with noise have no such picture and are not here.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from glide_jax import types
from glide_jax.diffusion import solvers
from glide_jax.sampling import cascade
from glide_jax.sampling.running import Running
from glide_jax.sampling.settings import DEFAULTS, StageSettings, Steps
from glide_jax.tables import table
from glide_jax.types import Cond, Keys, Params, TextCond

Draw = Callable[[str, str, int], np.ndarray]  # (sampler, grid, steps) to pictures (b, h, w, 3)
ODE = tuple(name for name, sampler in solvers.SAMPLERS.items() if not sampler.random)
GRIDS = ("", "uniform", "logsnr", "karras")  # "" is the respacing of the released models
REFERENCE = ("dpmpp_2m", "uniform", 1000)


class Row(NamedTuple):
    """One sampler on one grid."""

    sampler: str
    grid: str
    distances: tuple[float, ...]  # one for each number of evaluations


def distance(pictures: np.ndarray, reference: np.ndarray) -> float:
    """Root mean square of the difference, in standard deviations of the reference's pixels."""
    difference = np.float64(pictures) - reference
    return float(np.sqrt((difference**2).mean()) / np.float64(reference).std())


def steps_of(sampler: str, evaluations: int) -> int:
    """Steps that this many evaluations of the network pay for; the last step takes one."""
    each = solvers.SAMPLERS[sampler].evaluations
    return (evaluations - 1) // each + 1


def measure(
    draw: Draw,
    evaluations: Sequence[int],
    samplers: Sequence[str] = ODE,
    grids: Sequence[str] = GRIDS,
    reference: np.ndarray | None = None,
) -> list[Row]:
    """Distances to the converged pictures for every sampler, grid and number of evaluations.

    Args:
        draw: draws the same pictures by any sampler, such as `drawing`.
        evaluations: numbers of evaluations of the network; every sampler gets the steps that each
            number pays for.
        samplers: some of `ODE`.
        grids: some of `GRIDS`.
        reference: the converged pictures, if they are there already.
    """
    reference = draw(*REFERENCE) if reference is None else reference
    return [
        Row(sampler, grid, tuple(
            distance(draw(sampler, grid, steps_of(sampler, n)), reference) for n in evaluations
        ))
        for sampler in samplers
        for grid in grids
    ]  # fmt: skip


def drawing(
    stage: types.Stage,
    params: Params,
    keys: Keys,
    cond: Cond,
    null_text: TextCond | None,
    settings: StageSettings = DEFAULTS,
) -> Draw:
    """A stage as a function of sampler, grid and steps; the arguments are those of `cascade`."""
    inputs = cascade.Inputs(params, keys, cond, null_text)

    def draw(sampler: str, grid: str, steps: int) -> np.ndarray:
        how = dataclasses.replace(settings, sampler=sampler, grid=grid, steps=Steps(steps))
        return np.asarray(Running(stage, inputs, how).finish())

    return draw


def distance_table(rows: Sequence[Row], evaluations: Sequence[int]) -> str:
    """The rows as a Markdown table, in percent; the best of each column is bold."""
    best = np.argmin([row.distances for row in rows], axis=0)
    lines = []
    for k, row in enumerate(rows):
        cells = [f"{100 * value:.2f}" for value in row.distances]
        shown = [f"**{cell}**" if best[j] == k else cell for j, cell in enumerate(cells)]
        lines.append((row.sampler, row.grid or "respaced", *shown))
    return table(lines, ("sampler", "grid", *evaluations), "ll" + "r" * len(evaluations))
