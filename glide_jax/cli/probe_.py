"""`glide-jax probe`: how often repeated samples of a prompt show what, with intervals."""

import pathlib
from typing import TYPE_CHECKING, Any

import click

from glide_jax import checks
from glide_jax.cli import common, eval_
from glide_jax.errors import InputError

if TYPE_CHECKING:
    from glide_jax.evaluation.probe_families import Family


@click.command("probe")
@click.option(
    "--family",
    "families",
    multiple=True,
    help="shapes, toys, religion, occupations, traits, places or removed; may be "
    "repeated [all that can be read: shapes without a CLIP, the others with one].",
)
@click.option("--n", default="32", show_default=True, help="Samples of each prompt.")
@eval_.probe_options
@common.json_option
def command(
    families: tuple[str, ...], n: str, scales: tuple[str, ...], steps: str | None,
    sampler: str | None, clip: str | None, clip_file: str | None, seed: str, upsample: bool,
    batch_size: str, model: str, dtype: str, device: str | None, out: pathlib.Path,
) -> None:  # fmt: skip
    """Draw families of prompts that leave something open, many times, and report what comes out.

    Pictures that are there are not drawn again, also when --n grows. The family shapes is read by
    the exact judge, all others by a CLIP, whose own biases are part of every answer.
    """
    from glide_jax.evaluation import plots, probe_report, probes, setup
    from glide_jax.evaluation.report import write_json

    samples = checks.whole("n", n, 1, 100_000)
    size = checks.whole("batch_size", batch_size, 1, 4096)
    chosen = _chosen(families, clip is not None or clip_file is not None)
    common.check_out(out)
    runs, shared = eval_.runs_for(scales, steps, sampler), {"seed": seed, "upsample": upsample}
    eval_.check_runs({"model": model, "dtype": dtype}, runs, shared)
    plots.check()
    models = eval_.folders().models
    sha256 = setup.sha256_of_model(model, models)
    setup.claim_folder(out, sha256)
    common.choose_device(device)
    reader = setup.open_clip(clip, clip_file, models)
    glide = common.load_glide(model, dtype, device)
    results: dict[str, Any] = {}
    for family in chosen:
        for run in runs:
            name = f"{family.name}/{setup.run_name(run)}"
            with eval_.bars(name) as progress:
                result = probes.run_probe(
                    glide, family, samples, out / name,
                    {**run, **shared},
                    clip=reader, batch_size=size, progress=progress,
                )  # fmt: skip
            result["model_sha256"] = sha256
            write_json(out / name / "result.json", result)
            path = out / name / "result.json"
            common.result(path, {"path": path, "run": name, **result})
            results[name] = result
    for path in probe_report.write_probe_report(out, f"{glide.loaded.name}, probes", results):
        common.result(path)


def _chosen(names: tuple[str, ...], with_clip: bool) -> "list[Family]":
    """The families to draw; one that nothing here can read is refused before any drawing."""
    from glide_jax.evaluation.probe_families import CLIP, FAMILIES, SHAPES

    readable = CLIP if with_clip else SHAPES
    if not names:
        return [family for family in FAMILIES.values() if family.reader == readable]
    chosen = [FAMILIES[checks.one_of("family", n, tuple(FAMILIES))] for n in dict.fromkeys(names)]
    for family in chosen:
        if family.reader == CLIP and not with_clip:
            raise InputError(
                f"family {family.name!r} is read by a CLIP: give --clip MODEL or --clip-file FILE."
            )
    return chosen
