"""`glide-jax data score`, `fit` and `filter`: what pictures are, and a set without some of them."""

import csv
import io
import os
import pathlib

import click
import numpy as np

from glide_jax import checks
from glide_jax.cli import common
from glide_jax.cli.eval_ import data_dir_option, folders
from glide_jax.cli.progress import progress_bars
from glide_jax.errors import InputError

_RUNNERS = ("local", "beam", "ray")
_SIDE, _COLUMNS = 64, 32  # pixels of a picture on the audit's sheet, and pictures in a row

classifier_option = click.option(
    "--classifier", "classifiers", type=common.PATH, multiple=True,
    help="A file that `fit` wrote: its score is the column score_NAME. More than once for more.",
)  # fmt: skip


@click.command("score", context_settings={"ignore_unknown_options": True})
@click.argument("what", type=common.PLACE)
@click.argument("table", type=common.PATH)
@click.argument("flags", nargs=-1)
@click.option("--split", default="train", show_default=True, help="Split of a built set.")
@click.option("--features", default="none", show_default=True,
              help="Keep those of mobilenet-v2, efficientnet-lite0 or pixels.")  # fmt: skip
@click.option("--caption-features", is_flag=True, help="Keep MiniLM's vectors of captions.")
@click.option("--unfit", is_flag=True, help="Score pictures by OpenNSFW: the column unfit.")
@classifier_option
@click.option("--workers", help="Processes; one for each core by default, 0 for none beside this.")
@click.option("--runner", default="local", show_default=True,
              help="local, beam (FLAGS after -- are its pipeline's options) or ray.")  # fmt: skip
@data_dir_option
def score(
    what: str,
    table: pathlib.Path,
    flags: tuple[str, ...],
    split: str,
    features: str,
    caption_features: bool,
    unfit: bool,
    classifiers: tuple[pathlib.Path, ...],
    workers: str | None,
    runner: str,
    data_dir: pathlib.Path | None,
) -> None:
    """Score the pictures and captions of WHAT (see `look`) into the folder TABLE.

    The table has a row for each record. The same command goes on with a table that was begun.
    """
    from glide_jax.safety import on_beam, on_ray, score_table, scoring
    from glide_jax.safety.classifiers import load

    checks.one_of("runner", runner, _RUNNERS)
    if flags and runner != "beam":
        raise InputError(f"{checks.shown(flags[0])} is left over; only --runner beam takes flags.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = checks.whole("workers", cores if workers is None else workers, 0, 1024)
    read = tuple(map(load, classifiers))
    columns = scoring.Columns(features, caption_features, unfit, read, folders(data_dir).data)
    job = score_table.prepare(what, columns, table, split=split)
    if runner == "local":
        with progress_bars("records") as progress:
            score_table.write_all(job, count, lambda done, total: progress("score", done, total))
    else:
        try:
            on_beam.write_all(job, flags) if runner == "beam" else on_ray.write_all(job)
        except InputError:
            raise
        except Exception as error:  # a cluster raises whatever comes, with a page of text
            why = checks.printable(str(error).strip().split("\n")[-1], 300).rstrip(".")
            raise InputError(
                f"{runner} stopped: {why}; what is written stays, and the same command goes on."
            ) from None
    rows = score_table.opened(table).read()
    unusable = len(rows) - rows["rejected"].null_count
    common.say(f"{len(rows):,} records, {unusable:,} of them not usable; the columns are "
               f"{', '.join(rows.schema.names)}")  # fmt: skip
    common.result(table)


@click.command("fit")
@click.argument("table", type=common.PATH)
@click.argument("out", type=common.PATH)
@click.option("--name", required=True, help="A word for what it finds: people.")
@click.option("--positive", required=True, help="Condition in SQL that is true of such records.")
@click.option("--among", default="true", help="Condition for the records that it learns from.")
@click.option("--captions", is_flag=True, help="Read the captions' features, not the pictures'.")
def fit(
    table: pathlib.Path, out: pathlib.Path, name: str, positive: str, among: str, captions: bool
) -> None:
    """Fit a classifier on the features in TABLE and write it into the file OUT.

    It is a support vector machine with an RBF kernel. A score of 0 is the threshold at which it
    misses under 1% of the positives that it did not learn from.
    """
    from glide_jax.evaluation.metrics.intervals import percent
    from glide_jax.safety import classifiers, score_table, scoring, selecting

    if out.exists():
        raise InputError(f"{checks.shown(str(out), 200)} exists; give a new file.")
    opened = score_table.opened(table)
    rows, column = opened.read(), "caption_features" if captions else "features"
    known, wanted = (selecting.matching(rows, query) for query in (among, positive))
    kept = opened.vectors(column)
    places, features = scoring.vectors_of(kept, column)
    numbers = kept["index"].to_numpy()[places]
    learned = np.isin(numbers, known)
    made = classifiers.fit(
        features[learned], np.isin(numbers[learned], wanted), name=name, column=column,
        network=opened.notes["networks"][column],
    )  # fmt: skip
    classifiers.save(made, out)
    missed, alarms = made.errors["missed"], made.errors["false_alarms"]
    common.say(f"of held-out records it misses {percent(missed)} % of {missed['n']:,} positives, "
               f"with false alarms at {percent(alarms)} % of {alarms['n']:,} others")  # fmt: skip
    common.result(out)


@click.command("filter")
@click.argument("table", type=common.PATH)
@click.argument("out", type=common.PATH)
@click.option("--where", default="true", show_default=True,
              help="Condition in SQL over the table's columns: 'score_people < 0'.")  # fmt: skip
@classifier_option
@click.option("--twins", default="keep", show_default=True,
              help="exact: of pictures with the same pixels only the first stays; near: of such "
              "that nearly are, too, which needs --features in the table.")  # fmt: skip
@click.option("--audit", default="1024", show_default=True,
              help="Pictures of the new set on a sheet for a person; 0 for none.")  # fmt: skip
def filter_(
    table: pathlib.Path,
    out: pathlib.Path,
    where: str,
    classifiers: tuple[pathlib.Path, ...],
    twins: str,
    audit: str,
) -> None:
    """Write the records of TABLE that --where selects as a set into the new folder OUT.

    Train on it with --config.data.source=parquet --config.data.path=OUT.
    """
    from glide_jax.cli import placing
    from glide_jax.provenance import NOT_DRAWN
    from glide_jax.safety import score_table, selecting
    from glide_jax.safety.classifiers import load

    checks.one_of("twins", twins, selecting.TWINS)
    shown = checks.whole("audit", audit, 0, 10_000)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{checks.shown(str(out), 200)} is there already; give a new folder.")
    opened = score_table.opened(table)
    read = tuple(map(load, classifiers))
    rows, source = opened.read(read), opened.source()
    chosen, usable = selecting.matching(rows, where), rows["rejected"].null_count
    left_out = {"not usable": len(rows) - usable, "by the query": usable - len(chosen)}
    gone = []
    if twins != "keep":
        gone = selecting.twins(rows, chosen, source, opened if twins == "near" else None)
        for kind in ("exact", "near"):
            left_out[f"{kind} twins"] = sum(one.kind == kind for one in gone)
        chosen = np.setdiff1d(chosen, [one.index for one in gone])
    notes = {"attribution": opened.notes["attribution"], "table": str(table.absolute()),
             "where": where, "records": len(rows),
             "classifiers": {one.name: one.sha256 for one in read}, "kept": len(chosen),
             "left_out": left_out, "twins": [one._asdict() for one in gone]}  # fmt: skip
    with progress_bars("pictures") as progress:
        selecting.write_set(source, chosen, out, notes, lambda *done: progress("write", *done))
    common.say(f"{len(chosen):,} of {len(rows):,} records are kept; left out: "
               + ", ".join(f"{count:,} {why}" for why, count in left_out.items()))  # fmt: skip
    common.result(out)
    if shown:
        sheet, words = _audit(source, chosen, shown)
        path = placing.write_sheet(out, "audit", sheet, {"audit_of": str(out)}, NOT_DRAWN)
        common.result(path)
        common.result(placing.write_beside(path, ".csv", words))


def _audit(source, chosen: np.ndarray, most: int) -> tuple:
    """A sheet of some of the new set's pictures, and a table for what a person finds on it."""
    from PIL import Image

    from glide_jax import contact_sheets
    from glide_jax.safety import selecting

    some = np.random.default_rng(0).permutation(chosen)[:most]
    examples = [selecting.read(source, int(index)) for index in np.sort(some)]
    pictures = [Image.fromarray(example.image) for example in examples]
    labels = [f"{k // _COLUMNS + 1},{k % _COLUMNS + 1}" for k in range(len(examples))]
    sheet = contact_sheets.contact_sheet(pictures, labels, side=_SIDE, columns=_COLUMNS)
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(["row,column", "index", "name", "wrong"])
    for label, index, example in zip(labels, np.sort(some), examples, strict=True):
        lines.writerow([label, index, example.name, ""])
    return sheet, text.getvalue().encode()
