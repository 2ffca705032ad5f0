"""`glide-jax sweep`: a protocol over guidance scales and other options, and the curves."""

from typing import Any

import click

from glide_jax import checks
from glide_jax.cli import common, drawing, eval_
from glide_jax.errors import InputError
from glide_jax.sampling.settings import PRESETS_HELP

# Options of a run that a sweep has options of its own for, or that all its runs share.
_OWN = {
    "guidance_scale": "--guidance-scales",
    "clip_guidance_scale": "--clip-guidance-scales",
    "sampler": "--samplers",
    **{name: f"--{name}" for name in ("steps", "preset", "seed", "upsample")},
    "batch_size": "--batch-size",
}
# Options that number pictures or choose among them; a run draws one of each prompt.
_COUNTING = ("n", "keep", "first_index")


@click.command("sweep")
@click.option("--guidance-scales", default="1,1.5,2,3,4", show_default=True, help="With commas.")
@click.option("--clip-guidance-scales", default="",
              help="With commas: runs guided by the model's CLIP besides.")  # fmt: skip
@click.option("--preset", help=PRESETS_HELP)
@click.option("--steps", default="", help="With commas, or with semicolons: 25,50 or fast27;10,5.")
@click.option("--samplers", default="", help="With commas: ddim,ddpm.")
@click.option("--vary", multiple=True, metavar="OPTION=VALUES",
              help="Any other option of `sample`, with commas, or with semicolons: eta=0,1 or "
              "guidance-interval=0,999;200,800. May be given more than once.")  # fmt: skip
@eval_.protocol_options
@common.json_option
def command(
    guidance_scales: str,
    clip_guidance_scales: str,
    preset: str | None,
    steps: str,
    samplers: str,
    vary: tuple[str, ...],
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
        _varied(vary),
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


def _varied(given: tuple[str, ...]) -> dict[str, list[str]]:
    """The values of each option of --vary by its name in Python."""
    # What is mixed in is a list itself, for which a value has no room.
    known = tuple(name for name in drawing.option_helps() if name != "mix")
    others: dict[str, list[str]] = {}
    for text in given:
        option, _, values = text.partition("=")
        name = option.strip().removeprefix("--").replace("-", "_")
        if own := _OWN.get(name):
            raise InputError(f"vary is {text!r}; {option.strip()} has an option, {own}, here.")
        if name in _COUNTING:
            raise InputError(f"vary is {text!r}; a run draws one picture of each prompt.")
        checks.one_of("an option of vary", name, known)
        if name in others:
            raise InputError(f"vary has {option.strip()} twice; give all its values in one list.")
        others[name] = _listed(f"vary {option.strip()}", values)
        if not others[name]:
            raise InputError(f"vary is {text!r}; it must be OPTION=VALUES, such as eta=0,1.")
    return others
