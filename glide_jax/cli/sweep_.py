"""`glide-jax sweep`: a protocol over guidance scales, steps and samplers, and the curves."""

import itertools
from typing import Any

import click

from glide_jax.cli import eval_
from glide_jax.errors import InputError


@click.command("sweep")
@click.option("--guidance-scales", default="1,1.5,2,3,4", show_default=True, help="With commas.")
@click.option("--clip-guidance-scales", default="",
              help="With commas: runs guided by the model's CLIP besides.")  # fmt: skip
@click.option("--preset", help="fast, balanced or reference: sampler, grid and steps.")
@click.option("--steps", default="", help="With commas, or with semicolons: 25,50 or fast27;10,5.")
@click.option("--samplers", default="", help="With commas: ddim,ddpm.")
@eval_.protocol_options
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
    from glide_jax.evaluation import sweeping

    scales = _listed("guidance-scales", guidance_scales)
    if not scales:
        raise InputError("guidance-scales is empty; give numbers such as 1,2,3.")
    by_clip = _listed("clip-guidance-scales", clip_guidance_scales)
    guides: list[dict[str, Any]] = [{"guidance_scale": scale} for scale in scales]
    guides += [{"clip_guidance_scale": scale} for scale in by_clip]
    grid = {
        "steps": _listed("steps", steps) or [None],
        "sampler": _listed("samplers", samplers) or [None],
    }
    others = [
        {key: value for key, value in zip(grid, values, strict=True) if value is not None}
        for values in itertools.product(*grid.values())
    ]
    runs = [guide | other for guide in guides for other in others]
    setup = eval_.Setup(**options)
    setup.common |= {} if preset is None else {"preset": preset}
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
