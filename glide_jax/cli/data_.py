"""`glide-jax data`: build captioned sets, and look at them or at pictures of one's own."""

import functools
import io
import pathlib
from typing import TYPE_CHECKING, Any

import click

from glide_jax import checks
from glide_jax.cli import common, data_filter_, placing
from glide_jax.cli.progress import progress_bars
from glide_jax.data.survey import Survey, histogram
from glide_jax.errors import InputError
from glide_jax.provenance import NOT_DRAWN

if TYPE_CHECKING:
    from PIL import Image

_CONTEXT = 128  # tokens of GLIDE's rows of text, and of a config's unless it says otherwise

data_dir_option = click.option(
    "--data-dir", type=common.PATH,
    help="Where built sets are kept; by default the folder data in the cache.",
)  # fmt: skip


@click.group("data", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Build captioned sets, look at them, and filter them."""


@command.command("build")
@click.argument("name")
@data_dir_option
@click.option("--size", help="Pictures in the train split (shapes only).")
@click.option("--no-people", is_flag=True, help="Leave faces and people out (emoji only).")
@click.option("--path", type=common.PLACE, default="", help="COCO's own folder (coco only).")
@click.option("--download", is_flag=True, help="Fetch what is missing in --path: 20 GB.")
def build(
    name: str,
    data_dir: pathlib.Path | None,
    size: str | None,
    no_people: bool,
    path: str,
    download: bool,
) -> None:
    """Build the set NAME, such as emoji_64, unless it is there, and print its folder."""
    from glide_jax.data.recipes import builders

    if no_people:
        if name not in ("emoji_64", "emoji_256"):
            raise InputError(f"--no-people is for emoji_64 and emoji_256, not for {name!r}.")
        name = name.replace("emoji", "emoji_no_people")
    count = 0 if size is None else checks.whole("size", size, 1, 100_000_000)
    if download:
        if not name.startswith("coco_") or not path:
            raise InputError("--download fetches COCO into the folder that --path gives.")
        _download_coco(path)
    with progress_bars("pictures") as progress:
        folder = builders.build(
            name, data_dir or default_data_dir(), size=count, path=path, progress=progress
        )
    _say_set(name, folder)
    common.result(folder)


@command.command("pack")
@click.argument("name", type=common.PLACE)
@click.argument("out", type=common.PATH)
@data_dir_option
def pack(name: str, out: pathlib.Path, data_dir: pathlib.Path | None) -> None:
    """Write the built set NAME into the folder OUT as small Parquet files, to take elsewhere.

    There, --config.data.source=parquet --config.data.path=OUT/train.parquet reads them.
    """
    from glide_jax.data import catalogue
    from glide_jax.data.recipes import packing

    common.check_out(out)
    folder, _ = catalogue.find_source(name, data_dir or default_data_dir())
    if folder is None:
        raise InputError(f"{name!r} is not a built set; give one such as emoji_256.")
    with progress_bars("pictures") as progress:
        paths = packing.pack(folder, out, progress)
    for path in paths:
        common.result(path)


@command.command("look")
@click.argument("what", type=common.PLACE)
@data_dir_option
@click.option("--split", default="train", show_default=True, help="Split of a built set.")
@click.option("--n", default="64", show_default=True, help="Pictures on the contact sheet.")
@click.option("--records", default="2000", show_default=True, help="How many are looked at.")
@common.out_option
def look(
    what: str, data_dir: pathlib.Path | None, split: str, n: str, records: str, out: pathlib.Path
) -> None:
    """Look at WHAT: a set such as emoji_64, or a folder, tar or parquet file with captions.

    Writes a contact sheet and a histogram of caption lengths into --out, and reports how many
    records are usable, how large, and why the others are not.
    """
    from glide_jax.data import catalogue, survey
    from glide_jax.tokenizers import GlideBPE

    keep = checks.whole("n", n, 1, 400)
    most = checks.whole("records", records, 1, 10_000_000)
    common.check_out(out)
    folder, source = catalogue.find_source(what, data_dir or default_data_dir(), split)
    if folder is not None:
        _say_set(what, folder)
        common.say(f"looking at the split {split}")
    for line in catalogue.passed_over(source):
        common.say(f"passed over: {line}")
    with progress_bars("records") as progress:
        result = survey.survey(
            source,
            most=most,
            keep=keep,
            tokenizer=GlideBPE(),
            context=_CONTEXT,
            progress=lambda done, all_: progress("look", done, all_),
        )
    _say_survey(result, len(source))
    stem = common.slug(pathlib.Path(what).name or what)
    if result.examples:
        sheet, words = _sheet(result.examples), _histogram(result.words, what)
        shown = {"contact_sheet_of": what}
        common.result(placing.write_sheet(out, f"{stem}-sheet", sheet, shown, NOT_DRAWN))
        if words is None:
            common.say("no histogram as a picture: pip install 'glide-jax[plot]' for that.")
        else:
            about = {"histogram_of": what}
            path = placing.write_sheet(out, f"{stem}-words", words, about, NOT_DRAWN)
            common.result(path)


@command.command(
    "speed", context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@click.option(
    "--config",
    type=common.PLACE,
    required=True,
    help="See `glide-jax train`, also for --config.* fields.",
)
@click.option("--seconds", default="10", show_default=True, help="How long to read.")
@common.json_option
@click.pass_context
def speed(ctx: click.Context, config: str, seconds: str) -> None:
    """Read a run's batches as fast as they come without training, and print the rate."""
    from glide_jax.cli import train_

    wanted = checks.real("seconds", seconds, 0.01, 86_400.0)
    changes = train_.overrides(ctx.args)

    from glide_jax.data.loader import throughput
    from glide_jax.training.config import read_config
    from glide_jax.training.run import prepare_run

    read = read_config(config, changes)
    common.choose_device("cpu")
    run = prepare_run(read, cache=common.cache_folder())
    rate = throughput(run.loader(), wanted)
    size, workers = read.batches.batch_size, read.batches.workers
    common.result(
        f"{rate:,.1f} pictures/s in batches of {size} with {workers} workers",
        {"pictures_per_second": rate, "batch_size": size, "workers": workers},
    )


def default_data_dir() -> pathlib.Path:
    """Returns the folder in which sets are built by default."""
    return common.cache_folder() / "data"


def _download_coco(path: str) -> None:
    from glide_jax.checkpoints import download
    from glide_jax.data.readers import coco

    def fetch(url: str, to: pathlib.Path, **sums: Any) -> pathlib.Path:
        with progress_bars("B") as progress:
            report = functools.partial(progress, to.name)
            return download.fetch_file(url, to, progress=report, **sums)

    coco.download(path, fetch)


def _say_set(name: str, folder: pathlib.Path) -> None:
    from glide_jax.data.readers import built

    for split, count in built.split_lengths(folder).items():
        common.say(f"{name}: {count:,} pictures in {split}")
    notes = built.notes(folder)
    left_out = ", ".join(f"{count:,} {why}" for why, count in notes.get("rejected", {}).items())
    common.say(f"left out at building: {left_out or 'none'}")
    if notes.get("attribution"):
        common.say(notes["attribution"])


def _say_survey(result: Survey, records: int) -> None:
    common.say(
        f"{result.usable:,} of {result.records:,} records looked at are usable ({records:,})"
    )
    for reason, count in result.rejected.most_common():
        common.say(f"  {count:,} rejected: {reason}, such as {result.first_rejected[reason]}")
    for (height, width), count in result.sizes.most_common(3):
        common.say(f"  {count:,} are {width} x {height} pixels")
    if result.words:
        each = len(result.words) / result.usable
        common.say(f"{len(result.words):,} captions, {each:.1f} a picture; words in a caption:")
        for line in histogram(result.words).split("\n"):
            common.say(line)
    if result.cut:
        common.say(
            f"{result.cut:,} captions are longer than {_CONTEXT} tokens of GLIDE's tokenizer, "
            "which is the usual text_context; a model does not see their ends"
        )


def _sheet(examples: list) -> "Image.Image":
    from PIL import Image, ImageOps

    from glide_jax import contact_sheets

    pictures, captions = [], []
    for k, example in enumerate(examples):
        picture = Image.fromarray(example.image)
        side = max(picture.size)
        pictures.append(ImageOps.pad(picture, (side, side), color="white"))
        captions.append(example.captions[k % len(example.captions)])  # a different one each time
    return contact_sheets.contact_sheet(pictures, captions)


def _histogram(words: list[int], what: str) -> "Image.Image | None":
    """The numbers of words as a picture; None where there is nothing to draw it with."""
    from PIL import Image

    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.hist(words, bins=range(min(words), max(words) + 2), align="left")
    axes.set(xlabel="words in a caption", ylabel="captions", title=what)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return Image.open(buffer).convert("RGB")


command.add_command(data_filter_.score)
command.add_command(data_filter_.fit)
command.add_command(data_filter_.filter_)
