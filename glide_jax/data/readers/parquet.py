"""Parquet files with pictures in them, as img2dataset and dataset hubs write them.

A picture is bytes in the column "jpg", "image", "png" or "webp" (or in the field "bytes" of a
struct there); its captions are in "caption", "text" or "captions", a string or a list.
"""

import bisect
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from glide_jax import checks
from glide_jax.data import contents
from glide_jax.data.example import (
    MOST_BYTES,
    MOST_TEXT,
    Example,
    Rejected,
    captions_of,
    decode,
)
from glide_jax.data.readers.records import TEXT_FIELDS, caption_fields, utf8
from glide_jax.data.readers.walking import files_of
from glide_jax.data.tally import Tally
from glide_jax.errors import InputError
from glide_jax.extras import extra

IMAGE_COLUMNS = ("jpg", "image", "png", "webp")
_MOST_TEXT = 1 << 26  # bytes of captions kept while all are read for a tokenizer
_PART = 1 << 28  # bytes of a row group that are read at once
_MOST_GROUP_TEXT = 1 << 28  # bytes of captions that a row group may have, since it is read whole


class Parquet:
    """The rows of one file, of a folder's .parquet files, or of those a pattern matches.

    A row can only be read with its row group, so row groups are kept, the least used ones leaving
    first. If their sum exceeds the cache, reading in random order reads each many times: WebDataset
    tars are the better form of such a set.

    Args:
        path: a file, a folder or a pattern.
        cache_bytes: most bytes of row groups that each process keeps.

    Attributes:
        passed: the account of files that are there and not used.

    Raises:
        InputError: there is no file, one is no Parquet file, or lacks a column.
    """

    def __init__(self, path: str | os.PathLike, *, cache_bytes: int = 1 << 30):
        self.passed = Tally()
        self.paths = [str(file.absolute()) for file in files_of(path, ".parquet", self.passed)]
        self._columns: list[tuple[str, list[str]]] = []
        self._groups: list[tuple[int, int, int]] = []  # (file, row group, its first row there)
        self._starts = [0]  # the first row of each group, and the end
        for number, file in enumerate(self.paths):
            rows, columns = _layout(file)
            self._columns.append(columns)
            for group, count in enumerate(rows):
                self._groups.append((number, group, sum(rows[:group])))
                self._starts.append(self._starts[-1] + count)
        if not self._starts[-1]:
            raise InputError(f"{str(path)!r} holds no rows; it must have one at least.")
        self._cache = _Cache(cache_bytes)
        self._texts = _Cache(_MOST_TEXT)

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Example:
        path, group, row, name, (image_column, text_columns) = self._place(index)
        table = self._cache.get(path, group, [image_column, *text_columns])
        captions = _captions(table, row, text_columns, name)
        image = _cell(table, image_column, row, name, MOST_BYTES)
        data = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(data, bytes) or not data:  # img2dataset keeps rows that failed
            kind = table.schema.field(image_column).type
            none = image in (None, b"") or isinstance(image, dict)
            raise Rejected("missing image", name if none else f"{name}: {image_column} is {kind}")
        return Example(decode(data, name), captions, name)

    def captions_at(self, index: int) -> tuple[str, ...]:
        """Returns a record's captions, without its picture; raises `Rejected` as `[index]` does."""
        path, group, row, name, (_, text_columns) = self._place(index)
        return _captions(self._texts.get(path, group, text_columns), row, text_columns, name)

    def stamp(self) -> Iterator[Any]:
        """Yields sizes of files, by which a change of the set is noticed."""
        yield [os.path.getsize(path) for path in self.paths]

    def _place(self, index: int) -> tuple[str, int, int, str, tuple[str, list[str]]]:
        """Returns a record's file, row group, row in that, name and columns."""
        which = bisect.bisect_right(self._starts, index) - 1
        number, group, before = self._groups[which]
        row = index - self._starts[which]
        name = f"{os.path.basename(self.paths[number])}[{before + row}]"
        return self.paths[number], group, row, name, self._columns[number]


def _captions(table: Any, row: int, columns: list[str], name: str) -> tuple[str, ...]:
    cells = {column: _cell(table, column, row, name, MOST_TEXT) for column in columns}
    texts = {
        column: utf8(cell, f"{name}, {column}") if isinstance(cell, bytes) else cell
        for column, cell in cells.items()
    }
    found = caption_fields(texts)
    if not found and any(cell not in (None, []) for cell in cells.values()):
        kinds = ", ".join(f"{column} is {table.schema.field(column).type}" for column in columns)
        name = f"{name}: {kinds}; a string or a list of strings is needed"
    return captions_of(found, name)


def _cell(table: Any, column: str, row: int, name: str, most: int) -> Any:
    """Returns a cell as Python has it, unless it has more bytes than a record can need."""
    if (size := table[column].slice(row, 1).nbytes) > most + 4096:
        raise Rejected("too large", f"{name}: {size:,} bytes of {column}; at most {most:,}")
    try:
        return table[column][row].as_py()
    except UnicodeDecodeError:
        raise Rejected("not UTF-8", f"{name}, {column}: save it as UTF-8") from None
    except Exception as error:  # a date that no calendar has, or fewer rows than are promised
        raise Rejected("unreadable file", f"{name}, {column}: {error}") from None


class _Cache:
    """Row groups by (file, number), up to a sum of bytes; each process has its own."""

    def __init__(self, most_bytes: int):
        self.most_bytes = most_bytes
        self._tables: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str, group: int, columns: list[str]) -> Any:
        """Returns a row group's table of these columns."""
        with self._lock:  # one thread reads, the others then find it
            if (path, group) not in self._tables:
                table = _read_group(path, group, columns)
                while self._tables and self._bytes() + table.nbytes > self.most_bytes:
                    self._tables.popitem(last=False)
                self._tables[path, group] = table
            self._tables.move_to_end((path, group))
            return self._tables[path, group]

    def _bytes(self) -> int:
        return sum(table.nbytes for table in self._tables.values())

    def __reduce__(self):
        return _Cache, (self.most_bytes,)  # neither the lock nor a gigabyte goes to a worker


def _read_group(path: str, group: int, columns: list[str]) -> Any:
    """Reads a row group in parts, since a small file can unpack to more than there is memory."""
    parquet, arrow = extra("pyarrow.parquet"), extra("pyarrow")
    try:
        with parquet.ParquetFile(path) as file:
            size = _bytes_of(file.metadata.row_group(group), columns)
            rows = max(1, min(1024, _PART // max(size, 1)))
            parts, total = [], 0
            for part in file.iter_batches(
                rows, row_groups=[group], columns=columns, use_threads=False
            ):
                total += part.nbytes
                if total > 4 * size + _PART:
                    raise ValueError(f"it unpacks to over {total:,} bytes, and promises {size:,}")
                parts.append(part)
            return arrow.Table.from_batches(parts)
    except Exception as error:  # a damaged file leads Arrow to whatever comes
        raise Rejected("unreadable file", f"{path}, row group {group}: {error}") from None


def _layout(path: str) -> tuple[list[int], tuple[str, list[str]]]:
    """Returns the rows of each row group, and the columns of pictures and of captions."""
    parquet = extra("pyarrow.parquet")
    shown = checks.shown(path, 300)
    try:
        with parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(k) for k in range(file.num_row_groups)]
            names = file.schema_arrow.names
            rows, texts = [group.num_rows for group in groups], _text_columns(names)
            most = max((_bytes_of(group, texts) for group in groups), default=0)
            image = next((column for column in IMAGE_COLUMNS if column in names), None)
            each = [_bytes_of(group, [image or ""]) / max(group.num_rows, 1) for group in groups]
    except Exception as error:  # a damaged file leads Arrow to whatever comes
        with open(path, "rb") as file:
            head = file.read(4096)
        found = None if head.startswith(b"PAR1") else contents.kind_of(head)
        seems = f"it seems to be: {found[0]}, {found[1]}" if found else ""
        why = seems or checks.printable(str(error).rstrip("."), 300)
        raise InputError(f"{shown} cannot be read as a Parquet file: {why}.") from None
    if image is None or not texts:
        there = checks.printable(", ".join(names), 300)
        raise InputError(
            f"{shown} has the columns {there}; it must have one of pictures "
            f"({', '.join(IMAGE_COLUMNS)}) and one of captions ({', '.join(TEXT_FIELDS)})."
        )
    if any(count < 0 for count in rows) or most > _MOST_GROUP_TEXT:
        raise InputError(
            f"{shown} has a row group with {most:,} bytes of captions, and {_MOST_GROUP_TEXT:,} "
            "are the most; write it with smaller row groups."
        )
    if max(each, default=0) > MOST_BYTES:
        raise InputError(
            f"{shown} has pictures of over {MOST_BYTES:,} bytes in row group "
            f"{each.index(max(each))}; such a file is damaged."
        )
    return rows, (image, texts)


def _text_columns(names: list[str]) -> list[str]:
    return [name for field in TEXT_FIELDS for name in names if name.lower() == field]


def _bytes_of(group: Any, columns: list[str]) -> int:
    """Returns the bytes that columns of a row group take when they are unpacked."""
    found = [group.column(k) for k in range(group.num_columns)]
    return sum(
        one.total_uncompressed_size for one in found if one.path_in_schema.split(".")[0] in columns
    )
