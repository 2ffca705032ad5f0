"""Tables of captions in a folder: JSON lines or CSV, each row a file and its captions."""

import csv
import json
import os
import pathlib
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TextIO

from glide_jax import checks
from glide_jax.data.readers.records import (
    caption_fields,
    encoding_of,
    lower_fields,
    no_caption_fields,
    parse_json,
)
from glide_jax.errors import InputError

NAMES = ("captions.jsonl", "metadata.jsonl", "captions.csv", "metadata.csv")
FILE_FIELDS = ("file_name", "image")
_LONGEST = 1 << 24  # characters of a line
_DRIVE = re.compile(r"[A-Za-z]:/")


class Table(NamedTuple):
    """The rows of a table, the files named as seen from the folder."""

    captions: dict[str, list[str]]
    foreign: dict[str, str]  # files whose row has no field of captions: a phrase on its fields


def read_table(root: pathlib.Path, name: str, there: Mapping[str, str]) -> Table:
    """Reads a table.

    Args:
        root: the folder.
        name: the table's, as seen from the folder.
        there: the files by their names, and by the normal forms of them (see `normal`).

    Raises:
        InputError: it cannot be read, or a row names no file in the folder.
    """
    path, found = root / name, Table({}, {})
    rows, newline = (_csv, "") if name.lower().endswith(".csv") else (_json_lines, None)
    try:
        with open(path, encoding="utf-8-sig", newline=newline) as file:
            for number, row in rows(file, path):
                where = f"line {number} of {str(path)!r}"
                fields = lower_fields(row)
                file_name = next((fields[f] for f in FILE_FIELDS if f in fields), None)
                if not isinstance(file_name, str) or not file_name:
                    has = f"; it has {checks.shown(list(row)[:8])}" if fields else ""
                    raise InputError(
                        f"{where} names no file; it must under 'file_name' or 'image'{has}."
                    )
                picture = _place(root, name, file_name, there)
                if picture is None:
                    raise InputError(
                        f"{where} names {checks.shown(file_name)}, which lies outside of "
                        f"{str(root)!r}."
                    )
                found.captions.setdefault(picture, []).extend(caption_fields(row))
                if foreign := no_caption_fields(row):
                    found.foreign.setdefault(picture, f"{path.name} {foreign}")
    except UnicodeDecodeError:
        with open(path, "rb") as file:
            why = f"it is not UTF-8, {encoding_of(file.read(4096))}"
        raise InputError(f"{str(path)!r} cannot be read: {why}; save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
    return found


def normal(name: str) -> str:
    """Returns the form under which names of files are compared: macOS takes accents apart."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _lines(file: TextIO, path: pathlib.Path) -> Iterator[str]:
    """Yields the lines of a file, which may be a device's or a hostile one without an end."""
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if len(line) >= _LONGEST:
            raise InputError(
                f"line {number} of {str(path)!r} has over {_LONGEST:,} characters; it is no "
                "caption's."
            )
        yield line


def _json_lines(file: TextIO, path: pathlib.Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_lines(file, path), 1):
        if not line.strip():
            continue
        try:
            yield number, parse_json(line)
        except ValueError as error:
            json_error = isinstance(error, json.JSONDecodeError)
            why = f"{error.msg} at character {error.pos + 1}" if json_error else error
            where = f"line {number} of {str(path)!r}"
            raise InputError(f"{where} is not a JSON object: {why}.") from None


def _csv(file: TextIO, path: pathlib.Path) -> Iterator[tuple[int, Any]]:
    rows = csv.DictReader(_lines(file, path), restkey="")
    try:
        for row in rows:
            if "" in row:
                raise InputError(
                    f"line {rows.line_num} of {str(path)!r} has more columns than the first; a "
                    "caption with a comma must be in double quotes."
                )
            yield rows.line_num, row
    except csv.Error as error:
        where = f"line {rows.reader.line_num} of {str(path)!r}"
        raise InputError(f"{where} is not CSV: {error}.") from None


def _place(root: pathlib.Path, table: str, file: str, there: Mapping[str, str]) -> str | None:
    """Returns a file of a table as seen from the folder; None if it lies outside.

    Tables come from Windows with backslashes, from macOS with accents taken apart, and from
    scripts with absolute names.
    """
    if "\0" in file:
        return None
    folder = posixpath.dirname(table)
    if "\\" in file and posixpath.normpath(posixpath.join(folder, file)) not in there:
        file = file.replace("\\", "/")
    if _DRIVE.match(file):
        return None
    if os.path.isabs(file):
        real = os.path.join(os.path.realpath(os.path.dirname(file)), os.path.basename(file))
        inside = [
            os.path.relpath(one, base)
            for one in (os.path.normpath(file), real)
            for base in (os.path.abspath(root), os.path.realpath(root))
        ]
        name = next((one for one in inside if not one.startswith("..")), "..")
        name = name.replace(os.sep, "/")
    else:
        name = posixpath.normpath(posixpath.join(folder, file))
    if name == ".." or name.startswith("../"):
        return None
    return there.get(name) or there.get(normal(name), name)
