"""WebDataset tars read at random: indexed once, then one read for a picture and one for its text.

An example is the files of one name: NAME.jpg (or .jpeg, .png, .webp) with NAME.txt, a caption a
line, or NAME.json, which has them under "caption", "text" or "captions", as img2dataset writes.
"""

import hashlib
import json
import os
import pathlib
import tarfile
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glide_jax.data.example import Example, Rejected, captions_of, decode
from glide_jax.data.readers.records import caption_fields, files_of
from glide_jax.errors import InputError
from glide_jax.files import replacing

IMAGES = ("jpg", "jpeg", "png", "webp")
TEXTS = ("txt", "json")  # the first that an example has is used
_FORMAT = 1  # version of the index; an index of another version is made anew


class WebDataset:
    """The examples of one tar, of a folder's tars, or of those a pattern matches.

    Args:
        path: the tar, the folder, or the pattern.
        cache: folder for the indices; None keeps each beside its tar if that can be written to.

    Raises:
        InputError: there is no tar, or one is compressed or damaged.
    """

    def __init__(self, path: str | os.PathLike, *, cache: str | os.PathLike | None = None):
        self.paths = [str(tar.absolute()) for tar in files_of(path, ".tar")]
        indices = [_index(pathlib.Path(tar), cache) for tar in self.paths]
        self._places = np.concatenate([places for places, _ in indices])
        self._keys = np.concatenate([keys for _, keys in indices])
        self._shard = np.repeat(np.arange(len(indices)), [len(keys) for _, keys in indices])
        if not len(self._keys):
            raise InputError(f"{str(path)!r} holds no pictures; its tars must have some (.jpg).")

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Example:
        tar, name = self._tar_and_name(index)
        captions = self.captions_at(index)
        image, size = map(int, self._places[index][:2])
        return Example(decode(_read(tar, image, size), name), captions, name)

    def captions_at(self, index: int) -> tuple[str, ...]:
        """Returns a record's captions, without its picture; raises `Rejected` as `[index]` does."""
        tar, name = self._tar_and_name(index)
        offset, size, is_json = map(int, self._places[index][2:])
        try:
            text = _read(tar, offset, size).decode("utf-8-sig")
            lines = caption_fields(json.loads(text)) if is_json else text.splitlines()
        except ValueError as error:
            raise Rejected("no caption", f"{name}: {error}") from None
        return captions_of(lines, name)

    def _tar_and_name(self, index: int) -> tuple[str, str]:
        tar = self.paths[self._shard[index]]
        return tar, f"{os.path.basename(tar)}/{self._keys[index].decode('utf-8', 'replace')}"


def _read(path: str, offset: int, size: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)
    except OSError as error:
        raise Rejected("unreadable file", f"{path}: {error.strerror}") from None


# The index: for each example (image offset, its size, text offset, its size, whether it is JSON).


def _index(tar: pathlib.Path, cache: str | os.PathLike | None) -> tuple[NDArray[np.int64], NDArray]:
    """Returns the index of a tar: the one kept in a file if it is still right, else a new one."""
    stat = tar.stat()
    stamp = np.array([_FORMAT, stat.st_size, stat.st_mtime_ns], np.int64)
    folder = tar.parent if cache is None else pathlib.Path(cache)
    # Tars of different folders often have one name.
    place = hashlib.sha256(str(tar).encode()).hexdigest()[:8] if cache is not None else ""
    file = folder / f"{tar.name}{'.' if place else ''}{place}.index.npz"
    try:
        with np.load(file) as kept:
            if np.array_equal(kept["stamp"], stamp):
                return kept["places"], kept["keys"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        pass  # absent or damaged: made anew
    places, keys = _scan(tar)
    try:
        with replacing(file) as temporary, open(temporary, "wb") as out:
            np.savez(out, stamp=stamp, places=places, keys=keys)
    except OSError:
        pass  # a read-only place: the next run indexes again
    return places, keys


def _scan(tar: pathlib.Path) -> tuple[NDArray[np.int64], NDArray]:
    examples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                folder, _, file = member.name.rpartition("/")
                key, _, kind = file.partition(".")
                kind = kind.lower()
                if member.isreg() and key and kind in IMAGES + TEXTS:
                    parts = examples.setdefault(f"{folder}/{key}" if folder else key, {})
                    parts[kind] = (member.offset_data, member.size)
                archive.members = []  # pyright: ignore  (or a header of each stays in memory)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{str(tar)!r} cannot be read as an uncompressed tar ({error}); fetch it again, or "
            "take it away."
        ) from None
    places, keys = [], []
    for key, parts in examples.items():
        image = next((parts[kind] for kind in IMAGES if kind in parts), None)
        if image is not None:
            text: Any = next((kind for kind in TEXTS if kind in parts), None)
            places.append((*image, *parts.get(text, (0, 0)), text == "json"))
            keys.append(key.encode("utf-8", "replace"))
    return np.array(places, np.int64).reshape(-1, 5), np.array(keys, np.bytes_)
