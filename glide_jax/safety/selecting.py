"""A set of the records that a query over a table of scores selects, without their twins."""

import hashlib
import io
import json
import pathlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glide_jax import checks, files
from glide_jax.data.example import Example, Rejected, Source
from glide_jax.data.recipes.packing import write_rows
from glide_jax.errors import InputError
from glide_jax.extras import extra
from glide_jax.safety.score_table import ScoreTable
from glide_jax.safety.scoring import vectors_of

TWINS = ("keep", "exact", "near")  # what is done about twins: nothing, or the later ones go
NEAREST = 0.95  # cosine of features from which pictures with near hashes are near
_BITS = 3  # hashes of near pictures differ in so many of 64 at the most
_FILE = 8192  # pictures in a file of the new set
_PAIRS = f"""
    WITH bands AS (
        SELECT "index", hash, band.k AS k, (hash >> (16 * band.k)) & 65535 AS part
        FROM hashes, range({_BITS + 1}) AS band(k)
    )
    SELECT DISTINCT a."index" AS first, b."index" AS second
    FROM bands a JOIN bands b USING (k, part)
    WHERE a."index" < b."index" AND bit_count(xor(a.hash, b.hash)) <= {_BITS}
    ORDER BY first, second
"""


class Twin(NamedTuple):
    """A record that goes because an earlier one is like it."""

    index: int
    of: int
    kind: str  # "exact" or "near"


def matching(rows: Any, query: str) -> NDArray[np.int64]:
    """Numbers of the usable records of which a condition in SQL is true, in order.

    Args:
        rows: the columns that queries see, see `ScoreTable.read`.
        query: what follows WHERE, such as "unfit < 0.2 AND width >= 64".

    Raises:
        InputError: it is no condition over the columns.
    """
    found = _sql(f'SELECT "index" FROM pictures WHERE ({query}\n) AND rejected IS NULL',
                 query, pictures=rows)  # fmt: skip
    return np.sort(found["index"].astype(np.int64))


def _sql(statement: str, shown: str, **tables: Any) -> Mapping[str, NDArray]:
    duckdb = extra("duckdb")
    # A condition from somebody else can read no file and send nothing.
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        try:
            return connection.execute(statement).fetchnumpy()
        except duckdb.Error as error:
            why = checks.printable(str(error).split("\n")[0].rstrip("."), 200)
            columns = ", ".join(next(iter(tables.values())).schema.names)
            raise InputError(
                f"query {checks.shown(shown, 200)} cannot be used ({why}); it must be a condition "
                f"in SQL over the columns {columns}."
            ) from None


def twins(
    rows: Any, indices: NDArray[np.int64], source: Source, near: ScoreTable | None = None
) -> list[Twin]:
    """Finds the records that an earlier one of the selected makes superfluous.

    Pictures of one hash are read again, and are exact twins if all their pixels are the same. Near
    twins have hashes that differ in 3 bits of 64 at the most, and features of a cosine of NEAREST.

    Args:
        rows: the columns that queries see.
        indices: numbers of the selected records, in order.
        source: the set.
        near: the table whose features tell near twins; None for exact ones alone.
    """
    hashed = dict(zip(rows["index"].to_pylist(), rows["hash"].to_pylist(), strict=True))
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for index in indices.tolist():
        alike[hashed[index]].append(index)
    found: dict[int, Twin] = {}
    for group in alike.values():
        first: dict[bytes, int] = {}
        for index in group if len(group) > 1 else ():
            image = read(source, index).image
            sum_ = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
            if (of := first.setdefault(sum_, index)) != index:
                found[index] = Twin(index, of, "exact")
    if near is not None:
        left = np.array([index for index in indices.tolist() if index not in found], np.int64)
        for first_, second in _near_pairs(hashed, left, near):
            if first_ not in found:  # pairs are in order, so it stays
                found.setdefault(second, Twin(second, first_, "near"))
    return sorted(found.values())


def _near_pairs(
    hashed: Mapping[int, int], indices: NDArray[np.int64], table: ScoreTable
) -> list[tuple[int, int]]:
    arrow = extra("pyarrow")
    numbers = arrow.array([hashed[index] for index in indices.tolist()], arrow.uint64())
    pairs = _sql(_PAIRS, "near twins", hashes=arrow.table({"index": indices, "hash": numbers}))
    first, second = (pairs[name].astype(np.int64) for name in ("first", "second"))
    kept = table.vectors("features")
    kept = kept.filter(
        extra("pyarrow.compute").is_in(kept["index"], arrow.array(np.union1d(first, second)))
    )
    rows, vectors = vectors_of(kept, "features")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
    places = kept["index"].to_numpy()[rows]
    a, b = np.searchsorted(places, first), np.searchsorted(places, second)
    close = [bool(vectors[i] @ vectors[j] >= NEAREST) for i, j in zip(a, b, strict=True)]
    return [(int(i), int(j)) for i, j, one in zip(first, second, close, strict=True) if one]


def read(source: Source, index: int) -> Example:
    """Reads a record that was usable when it was scored.

    Raises:
        InputError: it no longer is.
    """
    try:
        return source[index]
    except Rejected as rejected:
        raise InputError(
            f"record {index:,} was usable when it was scored, and is not now: {rejected}; score "
            "the set again into a new folder."
        ) from None


def write_set(
    source: Source,
    indices: Sequence[int] | NDArray[np.int64],
    out: pathlib.Path,
    notes: Mapping[str, Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes records as a folder of Parquet files, which the source `parquet` reads.

    Args:
        source: the set.
        indices: numbers of its records.
        out: the new folder, which appears when it is whole.
        notes: facts for its filter.json.
        progress: called with (records done, all records).

    Raises:
        InputError: nothing is selected, or a record is no longer usable.
        FileExistsError: `out` is there and not empty.
    """
    if not len(indices):
        raise InputError("no record is selected, so there is no set to write; widen the query.")

    def rows(start: int) -> Iterator[dict[str, Any]]:
        for done, index in enumerate(indices[start : start + _FILE], start + 1):
            example, buffer = read(source, int(index)), io.BytesIO()
            Image.fromarray(example.image).save(buffer, "PNG")
            progress(done, len(indices))
            yield {"image": buffer.getvalue(), "captions": example.captions, "name": example.name}

    with files.replacing_dir(out) as folder:
        for start in range(0, len(indices), _FILE):
            write_rows(rows(start), folder / f"pictures-{start // _FILE:05}.parquet")
        (folder / "filter.json").write_text(f"{json.dumps(notes, indent=1)}\n", encoding="utf-8")
