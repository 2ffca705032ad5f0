"""`glide-jax probe`: how often repeated samples of a prompt show what, with intervals."""

import pathlib
from collections.abc import Callable
from typing import Any

import click

from glide_jax import checks
from glide_jax.cli import common, eval_
from glide_jax.errors import InputError


@click.command("probe")
@click.option(
    "--family",
    "families",
    multiple=True,
    help="shapes, toys, religion, occupations, traits, places or removed; may be "
    "repeated [all that can be read: shapes without a CLIP, the others with one].",
)
@click.option("--n", default="32", show_default=True, help="Samples of each prompt.")
@click.option(
    "--guidance-scale", "scales", multiple=True, help="Of the base; more than once for more runs."
)
@click.option("--steps", help="Of the base: 1 to 1000, or a respacing such as fast27.")
@click.option("--sampler", help="Of the base, such as ddpm or ddim.")
@eval_.clip_options
@click.option("--seed", default="0", show_default=True, help="0 to 4294967295.")
@click.option("--upsample/--no-upsample", default=True, help="Run the upsampler, if any.")
@click.option("--batch-size", default="16", show_default=True, help="Pictures at once.")
@common.model_option
@common.dtype_option
@common.device_option
@common.out_option
def command(
    families: tuple[str, ...], n: str, scales: tuple[str, ...], steps: str | None,
    sampler: str | None, clip: str | None, clip_file: str | None, seed: str, upsample: bool,
    batch_size: str, model: str, dtype: str, device: str | None, out: pathlib.Path,
) -> None:  # fmt: skip
    """Draw families of prompts that leave something open, many times, and report what comes out.

    Pictures that are there are not drawn again, also when --n grows. The family shapes is read by
    the exact judge, all others by a CLIP, whose own biases are part of every answer.
    """
    from glide_jax.evaluation import evaluate, probe_report

    samples, size = (
        checks.whole("n", n, 1, 100_000),
        checks.whole("batch_size", batch_size, 1, 4096),
    )
    chosen = _chosen(families, clip is not None or clip_file is not None)
    common.check_out(out)
    sha256 = eval_.sha256_of_model(model)
    eval_.check_folder(out, sha256)
    common.choose_device(device)
    scorer = eval_.open_clip(clip, clip_file)
    glide = common.load_glide(model, dtype, device)
    fixed = {"steps": steps, "sampler": sampler}
    run = {key: value for key, value in fixed.items() if value is not None}
    results: dict[str, Any] = {}
    for family in chosen:
        for scale in scales or (None,):
            options = run if scale is None else {**run, "guidance_scale": scale}
            name = f"{family.name}/{eval_.name_of(options)}"
            options = {**options, "seed": seed, "upsample": upsample}
            with eval_.bars(name) as progress:
                result = _probe(glide, family, samples, scorer, out / name, options, size, progress)
            result["model_sha256"] = sha256
            evaluate.write_json(out / name / "result.json", result)
            common.result(out / name / "result.json")
            results[name] = result
    for path in probe_report.write(out, f"{glide.loaded.name}, probes", results):
        common.result(path)


def _chosen(names: tuple[str, ...], with_clip: bool) -> list[Any]:
    """The families to draw; what nobody here can read is refused before anything is drawn."""
    from glide_jax.evaluation import probe_families

    readable = probe_families.CLIP if with_clip else probe_families.SHAPES
    if not names:
        return [family for family in probe_families.FAMILIES if family.reader == readable]
    for name in names:
        checks.one_of("family", name, probe_families.NAMES)
    found = [probe_families.BY_NAME[name] for name in dict.fromkeys(names)]
    for family in found:
        if family.reader == probe_families.CLIP and not with_clip:
            raise InputError(
                f"family {family.name!r} is read by a CLIP: give --clip MODEL or --clip-file FILE."
            )
    return found


def _probe(glide: Any, family: Any, n: int, scorer: Any, folder: pathlib.Path,
           options: dict[str, Any], batch_size: int,
           progress: Callable[[str, int, int], None]) -> dict[str, Any]:  # fmt: skip
    """Draws one family's samples, reads them and writes their sheet."""
    from glide_jax.evaluation import evaluate, probe_families, probes

    protocol = probes.protocol(family, n)
    reference = evaluate.Reference(protocol, evaluate.Judges())
    result = evaluate.evaluate(
        glide, protocol, folder, options, reference, batch_size=batch_size, progress=progress
    )
    read, reader = probes.by_shapes_judge, {"name": "the shapes judge", "sha256": ""}
    if family.reader == probe_families.CLIP:
        read = probes.by_clip(scorer, family.questions)
        reader = {"name": scorer.images.name, "sha256": scorer.images.sha256}
    found = probes.findings(family, n, probes.pictures_of(folder, family, n), read)
    probes.write_sheet(folder, family, n)
    return {**result, "probe": {**found, "reader": reader}}
