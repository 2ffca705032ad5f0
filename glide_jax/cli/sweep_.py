"""`glide-jax sweep`: a protocol over guidance scales, steps and samplers, and the curves."""

import itertools
from typing import Any

import click

from glide_jax.cli import eval_
from glide_jax.errors import InputError


@click.command("sweep")
@click.option("--guidance-scales", default="1,1.5,2,3,4", show_default=True, help="With commas.")
@click.option("--steps", default="", help="With commas, or with semicolons: 25,50 or fast27;10,5.")
@click.option("--samplers", default="", help="With commas: ddim,ddpm.")
@eval_.protocol_options
def command(guidance_scales: str, steps: str, samplers: str, **options: Any) -> None:
    """Run a protocol for every combination and plot what is bought with what (figure 6).

    Each combination is a run in a folder of its own, as `eval` makes it: what is there is kept.
    """
    from glide_jax.evaluation import sweeping

    scales = _listed("guidance-scales", guidance_scales)
    if not scales:
        raise InputError("guidance-scales is empty; give numbers such as 1,2,3.")
    grid = {
        "guidance_scale": scales,
        "steps": _listed("steps", steps) or [None],
        "sampler": _listed("samplers", samplers) or [None],
    }
    runs = [
        {key: value for key, value in zip(grid, values, strict=True) if value is not None}
        for values in itertools.product(*grid.values())
    ]
    setup = eval_.Setup(**options)
    results = setup.evaluate(runs)
    from glide_jax.cli import common

    for path in sweeping.write(
        setup.out,
        f"{setup.glide.loaded.name}, {setup.protocol.name}",
        {name: (run, results[name]) for run in runs for name in [eval_.name_of(run)]},
    ):
        common.result(path)


def _listed(name: str, text: str) -> list[str]:
    values = [part.strip() for part in text.split(";" if ";" in text else ",")]
    values = [value for value in values if value]
    if len(set(values)) != len(values):
        raise InputError(f"{name} is {text!r}; each value may be given once.")
    return values
