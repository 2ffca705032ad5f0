"""A folder of pictures with their captions, as people keep them.

A picture's captions are the lines of the .txt file of its name beside it, or come from a
captions.jsonl or metadata.jsonl in its folder or in one above it: one JSON object a line, with the
file under "file_name" or "image" (as seen from that .jsonl) and a text or a list of them under
"text", "caption" or "captions".
"""

import json
import os
import pathlib

from glide_jax.data.example import Example, Rejected, captions_of, decode
from glide_jax.data.readers.records import caption_fields
from glide_jax.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
TABLES = ("captions.jsonl", "metadata.jsonl")
FILE_FIELDS = ("file_name", "image")


class Folder:
    """The pictures of a folder and those below it, in the order of their names.

    Files and folders whose names begin with a dot are passed over. A picture without a caption,
    and a file that a table names but that is not there, are rejected when they are read.

    Args:
        path: the folder.

    Raises:
        InputError: it is missing, has no pictures, no captions at all, or a table is wrong.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            raise InputError(f"folder {str(path)!r} does not exist; give one that holds pictures.")
        pictures, texts, tables = _walk(self.path)
        self._captions: dict[str, list[str]] = {}
        for table in sorted(tables):  # the one nearer to the picture has the last word
            self._captions |= _read_table(self.path, table)
        self._names = sorted(pictures | set(self._captions))
        if not self._names:
            known = ", ".join(SUFFIXES)
            raise InputError(
                f"folder {str(path)!r} holds no pictures; it must have some ({known})."
            )
        self._texts = {name for name in self._names if _text_of(name) in texts}
        if not self._texts and not self._captions:
            raise InputError(
                f"none of the {len(self._names)} pictures in {str(path)!r} has a caption: put a "
                ".txt of the same name beside each, or one captions.jsonl in the folder."
            )

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        name, captions = self._names[index], self.captions_at(index)
        return Example(decode(self.path / name, name), captions, name)

    def captions_at(self, index: int) -> tuple[str, ...]:
        """Returns a record's captions, without its picture; raises `Rejected` as `[index]` does."""
        name = self._names[index]
        return captions_of(self._captions_of(name), name)

    def _captions_of(self, name: str) -> list[str] | None:
        if name not in self._texts:
            return self._captions.get(name)
        try:
            return (self.path / _text_of(name)).read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Rejected("no caption", f"{_text_of(name)}: {error}") from None


def _text_of(name: str) -> str:
    return f"{name.rpartition('.')[0]}.txt"


def _walk(path: pathlib.Path) -> tuple[set[str], set[str], list[str]]:
    """Returns the pictures, the text files and the tables, as seen from `path`, with slashes."""
    pictures, texts, tables = set(), set(), []
    for folder, below, files in os.walk(path):
        below[:] = [name for name in below if not name.startswith(".")]
        within = pathlib.Path(folder).relative_to(path)
        for file in files:
            name = (within / file).as_posix()
            if file in TABLES:
                tables.append(name)
            elif file.startswith("."):
                continue
            elif file.lower().endswith(SUFFIXES):
                pictures.add(name)
            elif file.endswith(".txt"):
                texts.add(name)
    return pictures, texts, tables


def _read_table(path: pathlib.Path, table: str) -> dict[str, list[str]]:
    """Reads a table: the captions of each file, named as seen from `path`."""
    captions: dict[str, list[str]] = {}
    try:
        lines = (path / table).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{str(path / table)!r} cannot be read: {error}.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"line {number} of {str(path / table)!r}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where} is not a JSON object: {error}.") from None
        file = next((row[f] for f in FILE_FIELDS if f in row), None) if type(row) is dict else None
        if not isinstance(file, str) or not file:
            raise InputError(f"{where} names no file; it must under 'file_name' or 'image'.")
        name = os.path.normpath(os.path.join(os.path.dirname(table), file)).replace(os.sep, "/")
        if os.path.isabs(name) or name.startswith("../"):
            raise InputError(f"{where} names {file!r}, which lies outside of {str(path)!r}.")
        captions.setdefault(name, []).extend(caption_fields(row))
    return captions
