"""A folder of pictures with their captions, as people keep them.

A picture's captions are the lines of the text file of its name beside it (a.txt or a.TXT, else
a.jpg.txt or a.caption), or come from a table in its folder or in one above it: captions.jsonl or
metadata.jsonl with one JSON object a line, or captions.csv or metadata.csv. A row has the file
under "file_name" or "image" (as seen from that table) and a text, or in JSON a list of them, under
"text", "caption" or "captions".
"""

import os
import pathlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from glide_jax import checks, images
from glide_jax.data.example import MOST_TEXT, Example, captions_of, decode, read_bytes
from glide_jax.data.readers import caption_tables
from glide_jax.data.readers.caption_tables import normal
from glide_jax.data.readers.records import lines_of, utf8
from glide_jax.data.readers.walking import files_below, other_files, suffix_of
from glide_jax.data.tally import Tally
from glide_jax.errors import InputError

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff",
    ".avif", ".jp2", ".j2k", ".jpx", ".mpo", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
TEXTS = (".txt", ".caption")
_STAMPED = 20_000  # files whose sizes go into a fingerprint


class Folder:
    """The pictures of a folder and those below it, in the order of their names.

    Files and folders whose names begin with a dot are passed over. A picture without a caption,
    and a file that a table names but that is not there, are rejected when they are read.

    Args:
        path: the folder.

    Attributes:
        passed: the account of files that are there and not used.

    Raises:
        InputError: it is missing, has no pictures, no captions at all, or a table is wrong.
    """

    def __init__(self, path: str | os.PathLike):
        self.path, self.passed = pathlib.Path(path), Tally()
        if not os.path.isdir(self.path):
            shown = checks.shown(str(path), 300)
            what = "is a file" if os.path.exists(self.path) else "does not exist"
            raise InputError(f"folder {shown} {what}; give one that holds pictures.")
        names = files_below(self.path, self.passed)
        is_table = lambda name: name.rpartition("/")[2].lower() in caption_tables.NAMES
        tables = sorted(filter(is_table, names))
        suffixes = {name: suffix_of(name) for name in names}
        pictures = {name for name in names if suffixes[name] in SUFFIXES}
        by_name = {normal(name): name for name in names} | {name: name for name in names}
        self._captions: dict[str, list[str]] = {}
        self._foreign: dict[str, str] = {}
        for name in tables:  # the one nearer to the picture has the last word
            table = caption_tables.read_table(self.path, name, by_name)
            for file, captions in table.captions.items():
                if file not in self._captions or any(text.strip() for text in captions):
                    self._captions[file] = captions
            self._foreign |= table.foreign
        texts = [name for name in names if suffixes[name] in TEXTS and name not in self._captions]
        self._texts = self._beside(sorted(pictures | set(self._captions)), texts)
        ours = self._ours(pictures - set(self._captions) - set(self._texts))
        self._names = sorted((pictures - ours) | set(self._captions))
        used = {*self._names, *ours, *tables, *texts}
        other_files(self.path, [name for name in names if name not in used], self.passed)
        self._check()

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        name, captions = self._names[index], self.captions_at(index)
        return Example(decode(self.path / name, name), captions, name)

    def captions_at(self, index: int) -> tuple[str, ...]:
        """Returns a record's captions, without its picture; raises `Rejected` as `[index]` does."""
        name = self._names[index]
        for text in self._texts.get(name, ()):
            lines = lines_of(utf8(read_bytes(self.path / text, text, MOST_TEXT), text))
            if any(line.strip() for line in lines):
                return captions_of(lines, name)
        detail = f"{name}: {self._foreign[name]}" if name in self._foreign else name
        return captions_of(self._captions.get(name), detail)

    def stamp(self) -> Iterator[Any]:
        """Yields names, captions of tables and sizes of files, by which a change is noticed."""
        every = max(1, len(self._names) // _STAMPED)
        for number, name in enumerate(self._names):
            files = (name, *self._texts.get(name, ())) if number % every == 0 else ()
            paths = [self.path / file for file in files]
            sizes = [os.path.getsize(path) for path in paths if os.path.isfile(path)]
            yield name, self._captions.get(name), sizes

    def _beside(self, pictures: list[str], texts: list[str]) -> dict[str, tuple[str, ...]]:
        """Returns the text files of each picture, the first that has a caption to be used."""
        by_stem: defaultdict[str, list[str]] = defaultdict(list)
        for text in sorted(texts, key=lambda name: (TEXTS.index(suffix_of(name)), name.lower())):
            by_stem[normal(os.path.splitext(text)[0])].append(text)
        found = {}
        for name in pictures:
            stem = os.path.splitext(name)[0]
            beside = [*by_stem.get(normal(stem), ()), *by_stem.get(normal(name), ())]
            if len(beside) > 1:
                beside.sort(key=lambda text: text != f"{stem}.txt")
                self.passed.add("text files behind another of their picture", beside[1])
            if beside:
                found[name] = tuple(beside)
                if any(text.strip() for text in self._captions.get(name, ())):
                    self.passed.add("rows of tables behind a text file of their picture", name)
        used = {text for beside in found.values() for text in beside}
        for text in texts:
            if text not in used:
                self.passed.add("text files without a picture of their name", text)
        return found

    def _ours(self, mute: set[str]) -> set[str]:
        """Returns the pictures without a caption that this package drew: sheets and samples."""
        pngs = sorted(name for name in mute if suffix_of(name) == ".png")
        ours = [name for name in pngs if images.is_ours(self.path / name)]
        for name in ours:
            self.passed.add("pictures without a caption that glide-jax drew", name)
        return set(ours)

    def _check(self) -> None:
        if not self._names:
            records = any("tfrecord" in kind for kind in self.passed.counts)
            convert = (
                "; TFRecord files are TensorFlow's, whose pictures must be written into such a "
                "folder, into tars or into Parquet files"
            )
            raise InputError(
                f"folder {str(self.path)!r} holds no pictures; it must have some "
                f"({', '.join(SUFFIXES[:7])}){self.passed.there_instead}"
                f"{convert if records else ''}."
            )
        if self._texts or any(self._captions.values()):
            return
        foreign = next(iter(self._foreign.values()), "")
        raise InputError(
            f"none of the {len(self._names)} pictures in {str(self.path)!r} has a caption: put a "
            ".txt of the same name beside each, or one captions.jsonl in the folder"
            f"{f'; {foreign}' if foreign else ''}{self.passed.there_instead}."
        )
