"""`glide-jax sweep`: a protocol over guidance scales, steps and samplers, and the curves."""

from typing import Any

import click

from glide_jax.cli import common, eval_
from glide_jax.errors import InputError
from glide_jax.sampling.settings import PRESETS_HELP


@click.command("sweep")
@click.option("--guidance-scales", default="1,1.5,2,3,4", show_default=True, help="With commas.")
@click.option("--clip-guidance-scales", default="",
              help="With commas: runs guided by the model's CLIP besides.")  # fmt: skip
@click.option("--preset", help=PRESETS_HELP)
@click.option("--steps", default="", help="With commas, or with semicolons: 25,50 or fast27;10,5.")
@click.option("--samplers", default="", help="With commas: ddim,ddpm.")
@eval_.protocol_options
@common.json_option
def command(
    guidance_scales: str,
    clip_guidance_scales: str,
    preset: str | None,
    steps: str,
    samplers: str,
    **options: Any,
) -> None:
    """Run a protocol for every combination and plot what is bought with what (figure 6).

    Each combination is a run in a folder of its own, as `eval` makes it: what is there is kept.
    """
    from glide_jax.evaluation import plots, sweeps
    from glide_jax.evaluation.setup import run_name

    scales = _listed("guidance-scales", guidance_scales)
    if not scales:
        raise InputError("guidance-scales is empty; give numbers such as 1,2,3.")
    runs = sweeps.combinations(
        scales,
        _listed("clip-guidance-scales", clip_guidance_scales),
        _listed("steps", steps),
        _listed("samplers", samplers),
    )
    plots.check()
    setup = eval_.open_setup(options, runs, {} if preset is None else {"preset": preset})
    title, results = eval_.evaluate_runs(setup, runs, options)
    chosen = {run_name(run): run for run in runs}
    named = {name: (chosen[name], result) for name, result in results.items()}
    for path in sweeps.write_sweep_report(setup.out, title, named):
        common.result(path)


def _listed(name: str, text: str) -> list[str]:
    values = [part.strip() for part in text.split(";" if ";" in text else ",")]
    values = [value for value in values if value]
    if len(set(values)) != len(values):
        raise InputError(f"{name} is {text!r}; each value may be given once.")
    return values
