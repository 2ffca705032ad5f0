"""WebDataset tars read at random: indexed once, then one read for a picture and one for its text.

An example is the files of one name: NAME.jpg (or .jpeg, .png, .webp ...) with NAME.txt, a caption a
line, or NAME.json, which has them under "caption", "text" or "captions", as img2dataset writes.
NAME ends at the first dot; a name with more of them, such as photo.v1.jpg, makes an example of its
own if it has a text of that whole name.
"""

import hashlib
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glide_jax.data.example import (
    MOST_BYTES,
    MOST_TEXT,
    Example,
    Rejected,
    captions_of,
    decode,
)
from glide_jax.data.readers import tars
from glide_jax.data.readers.records import (
    caption_fields,
    lines_of,
    no_caption_fields,
    parse_json,
    utf8,
)
from glide_jax.data.readers.walking import files_of
from glide_jax.data.tally import Tally
from glide_jax.errors import InputError
from glide_jax.files import replacing

_FORMAT = 2  # version of the index; an index of another version is made anew


class WebDataset:
    """The examples of one tar, of a folder's tars, or of those a pattern matches.

    Args:
        path: the tar, the folder, or the pattern, such as shards/{00000..00012}.tar.
        cache: folder for the indices; None keeps each beside its tar if that can be written to.

    Attributes:
        passed: the account of files and members that are there and not used.

    Raises:
        InputError: there is no tar, or one is compressed or damaged.
    """

    def __init__(self, path: str | os.PathLike, *, cache: str | os.PathLike | None = None):
        self.passed = Tally()
        self.paths = [str(tar.absolute()) for tar in files_of(path, ".tar", self.passed)]
        indices = [_index(pathlib.Path(tar), cache) for tar in self.paths]
        self._places = np.concatenate([index.places for index in indices])
        self._keys = np.concatenate([index.keys for index in indices])
        self._shard = np.repeat(np.arange(len(indices)), [len(index.keys) for index in indices])
        for tar, index in zip(self.paths, indices, strict=True):
            for kind, count, first in index.passed:
                self.passed.add(kind, f"{os.path.basename(tar)}/{first}", int(count))
        if not len(self._keys):
            raise InputError(
                f"{str(path)!r} holds no pictures; its tars must have some, such as a.jpg with "
                f"a.txt{self.passed.there_instead}."
            )

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Example:
        tar, name = self._tar_and_name(index)
        captions = self.captions_at(index)
        image, size = map(int, self._places[index][:2])
        return Example(decode(_read(tar, name, image, size, MOST_BYTES), name), captions, name)

    def captions_at(self, index: int) -> tuple[str, ...]:
        """Returns a record's captions, without its picture.

        Raises:
            Rejected: The record has none, or they cannot be read; see `[index]`.
        """
        tar, name = self._tar_and_name(index)
        text, text_size, more, more_size, twice = map(int, self._places[index][2:])
        if twice:
            raise Rejected("name twice in a tar", f"{name}: its picture may have another's caption")
        lines = lines_of(utf8(_read(tar, name, text, text_size, MOST_TEXT), name))
        if any(line.strip() for line in lines) or not more_size:
            return captions_of(lines, name)
        try:
            row = parse_json(utf8(_read(tar, name, more, more_size, MOST_TEXT), name))
        except ValueError as error:
            raise Rejected("no caption", f"{name}: its .json is no JSON ({error})") from None
        foreign = no_caption_fields(row)
        return captions_of(caption_fields(row), f"{name}: its .json {foreign}" if foreign else name)

    def stamp(self) -> Iterator[Any]:
        """Yields names and places, by which a change of the set is noticed."""
        yield self._keys.tolist()
        yield self._places.tolist()

    def _tar_and_name(self, index: int) -> tuple[str, str]:
        tar = self.paths[self._shard[index]]
        return tar, f"{os.path.basename(tar)}/{self._keys[index].decode('utf-8', 'replace')}"


def _read(path: str, name: str, offset: int, size: int, most: int) -> bytes:
    if size > most:
        raise Rejected("too large", f"{name}: {size:,} bytes; at most {most:,}")
    if not size:
        return b""
    try:
        with open(path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)
    except OSError as error:
        raise Rejected("unreadable file", f"{path}: {error.strerror}") from None


def _index(tar: pathlib.Path, cache: str | os.PathLike | None) -> tars.Index:
    """Returns the index of a tar: the one kept in a file if it is still right, else a new one."""
    stat = tar.stat()
    stamp = np.array([_FORMAT, stat.st_size, stat.st_mtime_ns], np.int64)
    folder = tar.parent if cache is None else pathlib.Path(cache)
    # Tars of different folders often have one name.
    place = hashlib.sha256(str(tar).encode()).hexdigest()[:8] if cache is not None else ""
    file = folder / f"{tar.name}{'.' if place else ''}{place}.index.npz"
    if kept := _kept(file, stamp):
        return kept
    index = tars.scan(tar)
    try:
        with replacing(file) as temporary, open(temporary, "wb") as out:
            np.savez(out, stamp=stamp, **index._asdict())
    except OSError:
        pass  # a read-only place: the next run indexes again
    return index


def _kept(file: pathlib.Path, stamp: NDArray[np.int64]) -> tars.Index | None:
    """Returns the index in a file; None if it is absent, damaged or another tar's.

    It may come with a tar from elsewhere, so it is not trusted.
    """
    if not file.is_file():  # also a pipe, from which nothing comes
        return None
    try:
        with zipfile.ZipFile(file) as archive:  # what is stored has no more bytes than the file
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                return None
        with np.load(file) as kept:
            if not np.array_equal(kept["stamp"], stamp):
                return None
            index = tars.Index(kept["places"], kept["keys"], kept["passed"])
        return index if tars.is_sound(index, int(stamp[1])) else None
    except Exception:  # a damaged file leads NumPy to whatever comes
        return None
