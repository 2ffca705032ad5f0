"""The table of a set's scores: a folder of Parquet files, each written once and as a whole."""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from glide_jax import checks, files
from glide_jax.data import catalogue
from glide_jax.data.example import Source
from glide_jax.data.fingerprint import fingerprint
from glide_jax.data.loader import begin_worker
from glide_jax.data.readers import built
from glide_jax.errors import InputError
from glide_jax.extras import extra
from glide_jax.safety.classifiers import Classifier
from glide_jax.safety.scoring import VECTORS, Columns, score, with_scores

NOTES = "table.json"
ROWS = 1024  # records in a part: seconds of work, which are what a kill costs
_VERSION = 1
_FACTS = {
    **dict.fromkeys(("set", "split", "data_dir", "fingerprint", "attribution"), str),
    **dict.fromkeys(("networks", "classifiers"), dict),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """A table that is to be written, part by part; any process may write any part.

    Attributes:
        source: the set.
        columns: the columns that cost networks.
        out: the table's folder.
        rows: records in a part.
    """

    source: Source
    columns: Columns
    out: pathlib.Path
    rows: int = ROWS

    def missing(self) -> list[int]:
        """Numbers of the parts that are not written yet."""
        paths = _paths(self.out, len(self.source), self.rows)
        return [number for number, path in enumerate(paths) if not path.exists()]

    def write(self, number: int) -> int:
        """Writes a part and returns its rows; two processes at once write the same bytes."""
        path = _paths(self.out, len(self.source), self.rows)[number]
        shard = range(number * self.rows, min((number + 1) * self.rows, len(self.source)))
        files.remove_all_left(path)
        with files.replacing(path) as temporary:
            table = score(self.source, shard, self.columns)
            extra("pyarrow.parquet").write_table(table, temporary, compression="zstd")
        return len(shard)


def _paths(out: pathlib.Path, records: int, rows: int) -> list[pathlib.Path]:
    count = -(-records // rows)
    return [out / f"part-{number:05}-of-{count:05}.parquet" for number in range(count)]


def prepare(
    what: str, columns: Columns, out: pathlib.Path, *, split: str = "train", rows: int = ROWS
) -> Job:
    """Begins a table, or goes on with the one that is there.

    Args:
        what: the set, see `catalogue.find_source`.
        columns: the columns that cost networks; their data_dir has the built sets, too.
        out: the table's folder.
        split: a built set's or COCO's.
        rows: records in a part.

    Raises:
        InputError: there is no such set, or the folder holds another table or other files.
    """
    folder, source = catalogue.find_source(what, columns.data_dir, split)
    name, _, side = what.rpartition("_")
    if not ((name in catalogue.SETS and side) or what in catalogue.NAMES or "+" in what):
        what = os.path.abspath(files.expanded(what))  # the table may be read from elsewhere
    notes = {
        "version": _VERSION,
        "set": what,
        "split": split,
        "data_dir": os.path.abspath(columns.data_dir),
        "records": len(source),
        "fingerprint": fingerprint(source),
        "rows": rows,
        "networks": columns.networks(),
        "unfit": columns.unfit,
        "classifiers": {one.name: one.sha256 for one in columns.classifiers},
        "attribution": built.notes(folder).get("attribution", "") if folder else "",
    }
    out.mkdir(parents=True, exist_ok=True)
    shown = checks.shown(str(out), 200)
    if not any(out.iterdir()):
        with files.replacing(out / NOTES) as temporary:
            temporary.write_text(f"{json.dumps(notes, indent=1)}\n", encoding="utf-8")
    elif not (out / NOTES).exists():
        raise InputError(f"{shown} holds other files; give a new folder.")
    there = files.read_object(out / NOTES)
    if other := [key for key in notes if there.get(key) != notes[key]]:
        old, new = checks.shown(there.get(other[0])), checks.shown(notes[other[0]])
        raise InputError(
            f"{shown} holds a table whose {other[0]} is {old}, and this one's is {new}: give "
            "another folder, or remove that table."
        )
    return Job(source, columns, out.absolute(), rows)


def write_all(
    job: Job, workers: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Writes the parts that are missing, by processes of this machine.

    Args:
        job: the table.
        workers: processes; 0 does it all in this one.
        progress: called with (records done, all records).

    Raises:
        InputError: another process writes this table, or a worker was killed.
    """
    records = len(job.source)
    with files.held(job.out / ".lock", f"table {checks.shown(str(job.out), 200)}"):
        todo = job.missing()
        done = records - sum(min(job.rows, records - number * job.rows) for number in todo)
        progress(done, records)
        for rows in _written(job, todo, workers) if workers else map(job.write, todo):
            done += rows
            progress(done, records)


def _written(job: Job, todo: Sequence[int], workers: int) -> Iterable[int]:
    spawn = multiprocessing.get_context("spawn")  # a fork of a process that runs JAX may hang
    pool = concurrent.futures.ProcessPoolExecutor(workers, spawn, _begin, (job,))
    try:
        running = [pool.submit(_write, number) for number in todo]
        yield from (one.result() for one in concurrent.futures.as_completed(running))
    except BrokenProcessPool:
        raise InputError(
            "a worker process was ended from outside, perhaps since memory is full; what is "
            "written stays, and the same command goes on with it."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_jobs: list[Job] = []  # the only job of a worker process, which opens its files once


def _begin(job: Job) -> None:
    begin_worker()
    _jobs.append(job)


def _write(number: int) -> int:
    return _jobs[0].write(number)


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """A table that is whole.

    Attributes:
        notes: the facts in its table.json.
        paths: its parts, in order.
    """

    notes: dict[str, Any]
    paths: tuple[pathlib.Path, ...]

    def read(self, classifiers: Sequence[Classifier] = ()) -> Any:
        """Returns the columns that queries see, with the scores of more classifiers.

        Raises:
            InputError: a classifier reads other networks, or its scores are there already.
        """
        for one in classifiers:
            one.check(self.notes["networks"])
            if one.name in self.notes["classifiers"]:
                raise InputError(f"the table has a column score_{one.name} already.")
        parts = []
        for path in self.paths:
            table = with_scores(_read(path), classifiers)
            parts.append(table.select([n for n in table.column_names if n not in VECTORS]))
        return _joined(parts)

    def vectors(self, column: str) -> Any:
        """Returns the table of the numbers of records and of a column of features.

        Raises:
            InputError: the set was scored without that column.
        """
        if column not in self.notes["networks"]:
            option = "--features NETWORK" if column == "features" else "--caption-features"
            raise InputError(
                f"the table has no column {column}: score the set with {option} into a new folder."
            )
        return _joined([_read(path, "index", column) for path in self.paths])

    def source(self) -> Source:
        """Opens the set that was scored.

        Raises:
            InputError: it is gone, or is no longer what it was.
        """
        what, data_dir, split = (self.notes[key] for key in ("set", "data_dir", "split"))
        _, source = catalogue.find_source(what, data_dir, split)
        if fingerprint(source) != self.notes["fingerprint"]:
            raise InputError(
                f"the set {checks.shown(what, 200)} has changed since it was scored; score it "
                "again into a new folder."
            )
        return source


def opened(out: pathlib.Path) -> ScoreTable:
    """Opens a table, and proves that it has each record once.

    Raises:
        InputError: it is no table, or is not whole.
    """
    notes, name = files.read_object(out / NOTES), checks.shown(str(out), 200)
    if notes.get("version") != _VERSION:
        raise InputError(f"{name} is no table of `glide-jax data score`, or of another version.")
    if wrong := [key for key, kind in _FACTS.items() if not isinstance(notes.get(key), kind)]:
        raise InputError(f"{name}/{NOTES} has no {wrong[0]}; remove it and score the set again.")
    records, rows = (checks.whole(key, notes.get(key), 1, 1 << 40) for key in ("records", "rows"))
    count = -(-records // rows)
    paths = sorted(out.glob(f"part-*-of-{count:05}.parquet"))
    if len(paths) < count:
        raise InputError(
            f"{name} lacks {count - len(paths):,} of {count:,} parts: the same `glide-jax data "
            "score` goes on."
        )
    numbers = _joined([_read(path, "index") for path in paths])["index"].to_numpy()
    if not np.array_equal(numbers, np.arange(records)):
        raise InputError(f"{name} has not each record once; remove it and score the set again.")
    return ScoreTable(notes, tuple(paths))


def _joined(tables: Sequence[Any]) -> Any:
    try:
        return extra("pyarrow").concat_tables(tables)
    except ValueError as error:  # Arrow's of columns that differ
        raise InputError(
            f"the parts of the table do not fit each other ({checks.printable(str(error), 200)}): "
            "remove it and score the set again."
        ) from None


def _read(path: pathlib.Path, *columns: str) -> Any:
    try:
        table = extra("pyarrow.parquet").read_table(path, columns=list(columns) or None)
        if not columns:
            table.select(["index", "rejected", "hash"])  # every table's
        return table
    except Exception as error:  # a damaged file leads Arrow to whatever comes
        why = checks.printable(str(error).rstrip("."), 200)
        raise InputError(
            f"{checks.shown(str(path), 200)} cannot be read ({why}): remove it, and the same "
            "`glide-jax data score` writes it again."
        ) from None
