"""The members of a tar and where they lie: what a WebDataset's index is made of."""

import os
import pathlib
import posixpath
import tarfile
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glide_jax import checks
from glide_jax.data import contents
from glide_jax.data.readers.caption_tables import normal
from glide_jax.data.tally import Tally
from glide_jax.errors import InputError

IMAGES = ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif")
TEXTS = ("txt", "json")  # a text is used before JSON, unless it is blank
_BLOCK = tarfile.BLOCKSIZE
_LONGEST = 1 << 24  # bytes of a header: a long name or its like
_LONGEST_NAME = 1024  # all names of an index take the room of the longest
_COLUMNS = 7  # image offset and size, text offset and size, JSON offset and size, twice


Parts = dict[str, dict[str, list[tuple[int, int]]]]  # name, kind: offsets and sizes


class Index(NamedTuple):
    """A tar's examples."""

    places: NDArray[np.int64]  # (n, 7), see _COLUMNS; a size of 0 is a part that is missing
    keys: NDArray[np.bytes_]  # (n,) their names
    passed: NDArray[np.str_]  # (m, 3): the kind of what is not used, how many, the first's name


class _Limited:
    """A file that refuses to read headers of gigabytes, which a hostile tar may announce."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST:
            raise tarfile.ReadError(f"a header has {size:,} bytes")
        return self._file.read(size)


def scan(tar: pathlib.Path) -> Index:
    """Reads the headers of a tar.

    Raises:
        InputError: it is compressed, damaged, or cut off within a member.
    """
    parts: Parts = {}
    passed, count, end = Tally(), 0, 0
    size = tar.stat().st_size
    try:
        with (
            open(tar, "rb") as file,
            tarfile.open(fileobj=_Limited(file), mode="r:") as archive,  # pyright: ignore
        ):
            for member in archive:
                if not end <= member.offset_data <= size or member.size < 0:
                    raise tarfile.ReadError("a header has an impossible place or size")
                end, count = member.offset_data, count + 1
                _sort_in(member, parts, passed)
                archive.members = []  # pyright: ignore  (or a header of each stays in memory)
            _check_end(file, archive.offset, passed)
    except Exception as error:  # a hostile header leads tarfile to whatever comes
        why = str(error) if isinstance(error, tarfile.TarError) else "a header is damaged"
        with open(tar, "rb") as file:
            if found := contents.kind_of(file.read(4096)):
                why = f"it seems to be: {found[0]}, {found[1]}"
        raise InputError(
            f"{checks.shown(str(tar), 300)} cannot be read as an uncompressed tar ({why}, after "
            f"{count:,} members in {end:,} of {size:,} bytes); fetch it again, or leave it out."
        ) from None
    return _examples(parts, passed)


def is_sound(index: Index, size: int) -> bool:
    """Whether an index that was kept can be one of a tar of that many bytes."""
    places, keys, passed = index
    return (
        (places.dtype, keys.dtype.kind, passed.dtype.kind) == (np.int64, "S", "U")
        and places.shape == (len(keys), _COLUMNS)
        and passed.ndim == 2
        and passed.shape[1] == 3
        and all(count.isdecimal() and len(count) < 12 for count in passed[:, 1])
        and not ((places < 0) | (places > size)).any()
    )


def _check_end(file: BinaryIO, end: int, passed: Tally) -> None:
    """Refuses a tar that goes on with what is no header, and notes one that has no end.

    tarfile takes both for the end, and so the rest would be lost in silence.
    """
    file.seek(end)
    rest = file.read(_LONGEST)
    if not rest:
        passed.add("tars without a mark of their end, so perhaps cut off", f"at byte {end}")
    elif any(rest[:_BLOCK]) or len(rest) < _BLOCK:
        raise tarfile.ReadError("there is a damaged header")
    elif any(rest):
        passed.add("tars with more behind the mark of their end, which is not read", f"byte {end}")


def _sort_in(member: tarfile.TarInfo, parts: Parts, passed: Tally) -> None:
    """Puts a member under its name up to the last dot, and its kind."""
    if member.isdir():
        return
    name = normal(posixpath.normpath(member.name))
    stem, kind = os.path.splitext(name)
    kind = kind[1:].lower()
    if not member.isreg() or member.issparse():
        passed.add("members that are links, devices or have holes", name)
    elif posixpath.basename(name).startswith("."):
        passed.add("hidden members", name)
    elif len(name) > _LONGEST_NAME:
        passed.add(f"members of over {_LONGEST_NAME:,} letters", name)
    elif kind in IMAGES + TEXTS:
        place = (member.offset_data, member.size)
        parts.setdefault(stem, {}).setdefault(kind, []).append(place)
    else:
        passed.add(f"members .{kind[:20]}" if kind else "members without a suffix", name)


def _examples(parts: Parts, passed: Tally) -> Index:
    """Pairs the members of one name."""
    places, keys, nothing = [], [], [(0, 0)]
    for stem, kinds in parts.items():
        images = [kind for kind in IMAGES if kind in kinds]
        text, more = (kinds.get(kind, nothing) for kind in TEXTS)
        if not images:
            passed.add("texts without a picture of their name", f"{stem}.{next(iter(kinds))}")
            continue
        if "." in posixpath.basename(stem) and text is more is nothing:
            passed.add("pictures with more than one dot in their name and no text of that name",
                       f"{stem}.{images[0]}")  # fmt: skip
            continue
        for other in images[1:]:
            passed.add("pictures beside another of their name", f"{stem}.{other}")
        image = kinds[images[0]]
        twice = max(len(image), len(text), len(more)) > 1
        places.append((*image[0], *text[0], *more[0], twice))
        keys.append(stem.encode("utf-8", "replace"))
    first = {kind: name[:200] for kind, name in passed.first.items()}
    rows = [(kind, str(count), first[kind]) for kind, count in passed.counts.items()]
    return Index(
        np.array(places, np.int64).reshape(-1, _COLUMNS),
        np.array(keys, np.bytes_),
        np.array(rows, np.str_).reshape(-1, 3),
    )
