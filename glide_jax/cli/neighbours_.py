"""`glide-jax neighbours`: are drawn pictures copies of training pictures?"""

import pathlib
from typing import Any

import click

from glide_jax import checks
from glide_jax.cli import common


@click.command("neighbours")
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.option("--data", required=True, help="A built set such as emoji_64, or files of yours.")
@click.option(
    "--features",
    default="efficientnet-lite0",
    show_default=True,
    help="Or inception, or clip-vit-b16.",
)
@click.option("--inception", help="File with the Inception weights of 2015.")
@click.option("--clip-file", help="OpenAI's CLIP, for clip-vit-b16: its file ViT-B-16.pt.")
@click.option("--most", default="10000", show_default=True, help="Training pictures looked at.")
@click.option("--pairs", default="36", show_default=True, help="Closest pairs on the sheet.")
@click.option("--data-dir", type=click.Path(path_type=pathlib.Path),
              help="Where built sets and packages are kept.")  # fmt: skip
@common.device_option
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
    import json

    from glide_jax.cli.eval_ import bars
    from glide_jax.data import catalogue
    from glide_jax.errors import InputError
    from glide_jax.evaluation import draws, evaluate, memorisation
    from glide_jax.evaluation import features as extractors

    limit, shown = checks.whole("most", most, 2, 10_000_000), checks.whole("pairs", pairs, 1, 400)
    folder = data_dir or common.cache_folder() / "data"
    try:
        n = int(json.loads((run / "result.json").read_text("utf-8"))["n"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{str(run)!r} is no finished run of `glide-jax eval`.") from None
    _, source = catalogue.find_source(data, folder)
    common.choose_device(device)
    extractor = extractors.open_features(features, folder, inception, clip_file)
    drawn = list(draws.read(run, n))
    numbers: list[int] = []

    def training(progress):
        for i, picture in memorisation.usable(source, drawn[0].shape[0], limit):
            numbers.append(i)
            progress("training", len(numbers), min(limit, len(source)))
            yield picture

    with bars("neighbours") as progress:
        known = extractors.collect(extractors.extract(extractor, training(progress)))
    found = extractors.collect(extractors.extract(extractor, drawn))
    near = memorisation.neighbours(found.pool, known.pool)
    summary = {
        **near.summary(),
        "extractor": {"name": extractor.name, "sha256": extractor.sha256},
        "data": data,
        "nearest": [numbers[i] for i in near.index.tolist()],
        "distances": near.distance.tolist(),
    }
    evaluate.write_json(run / "neighbours.json", summary)
    common.result(run / "neighbours.json")
    closest = near.closest_first[:shown]
    _write_sheet(run / "neighbours.png", drawn, source, closest, numbers, near)


def _write_sheet(
    path: pathlib.Path,
    drawn: list[Any],
    source: Any,
    closest: list[int],
    numbers: list[int],
    near: Any,
) -> None:
    """The closest pairs, with their distances."""
    import numpy as np

    from glide_jax import images
    from glide_jax.evaluation import memorisation

    side = drawn[0].shape[0]
    copies = [memorisation.center_crop(source[numbers[near.index[i]]].image, side) for i in closest]
    sheet = memorisation.sheet(
        [(drawn[i], copy) for i, copy in zip(closest, copies, strict=True)],
        np.take(near.distance, closest).tolist(),
    )
    images.write_png(path, sheet, {"contact_sheet_of": closest})
    common.result(path)
