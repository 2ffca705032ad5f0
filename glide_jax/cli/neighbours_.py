"""`glide-jax neighbours`: are drawn pictures copies of training pictures?"""

import pathlib

import click

from glide_jax import checks, provenance
from glide_jax.cli import common, eval_, placing


@click.command("neighbours")
@click.argument("run", type=common.PATH)
@click.option(
    "--data",
    type=common.PLACE,
    required=True,
    help="A built set such as emoji_64, or files of yours.",
)
@click.option(
    "--features",
    default="efficientnet-lite0",
    show_default=True,
    help="Or mobilenet-v2, inception or clip-vit-b16.",
)
@eval_.inception_option
@click.option(
    "--clip-file",
    type=common.PLACE,
    help="OpenAI's CLIP, for clip-vit-b16: its file ViT-B-16.pt.",
)
@click.option("--most", default="10000", show_default=True, help="Training pictures looked at.")
@click.option("--pairs", default="36", show_default=True, help="Closest pairs on the sheet.")
@eval_.data_dir_option
@common.device_option
@common.json_option
def command(
    run: pathlib.Path,
    data: str,
    features: str,
    inception: str | None,
    clip_file: str | None,
    most: str,
    pairs: str,
    data_dir: pathlib.Path | None,
    device: str | None,
) -> None:
    """Find the nearest training picture of each of RUN's pictures (a folder that `eval` made).

    Writes neighbours.json and a sheet of the closest pairs into RUN.
    """
    from glide_jax.data import catalogue
    from glide_jax.evaluation import draws, memorisation
    from glide_jax.evaluation.features import known
    from glide_jax.evaluation.report import write_json

    limit, shown = checks.whole("most", most, 2, 10_000_000), checks.whole("pairs", pairs, 1, 400)
    folder = eval_.folders(data_dir).data
    draws.finished_result(run)
    _, source = catalogue.find_source(data, folder)
    common.choose_device(device)
    extractor = known.open_features(features, folder, inception, clip_file)
    with eval_.bars("neighbours") as progress:
        summary, sheet, closest = memorisation.compare_run(
            run, source, extractor, most=limit, pairs=shown, progress=progress
        )
    shows = {"contact_sheet_of": closest}
    path = placing.write_sheet(run, "neighbours", sheet, shows, provenance.COMPOSITE)
    numbers, file = {"data": data, **summary}, path.with_suffix(".json")
    write_json(file, numbers)
    common.result(file, {"path": file, **numbers})
    common.result(path)
