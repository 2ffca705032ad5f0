"""Writes PyTorch state-dict files without PyTorch."""

import os
import pathlib
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from glide_jax import files
from glide_jax.checkpoints.torch.pickle_values import STORAGES
from glide_jax.errors import InputError

_ALIGNMENT = 64
_NAMES = {dtype: name for name, dtype in STORAGES.items()}


def write_state_dict(path: str | os.PathLike, state: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays as `torch.load(path, weights_only=True)` reads them: tensors on the CPU.

    The same arrays make the same bytes, and the file appears whole or not at all.

    Raises:
        InputError: a name is not text, PyTorch lacks an array's type, or `path` cannot be made.
    """
    arrays = {name: _little_endian(name, array) for name, array in state.items()}
    if not arrays:
        raise InputError(f"There are no arrays to write to {path}: give at least one.")
    files.remove_all_left(pathlib.Path(path))
    try:
        with (
            files.replacing(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
        ):
            _add(archive, "data.pkl", b"".join(_pickled(arrays)))
            _add(archive, "byteorder", b"little")
            for i, array in enumerate(arrays.values()):
                # Seen as bytes, since bfloat16 has no buffer format of its own.
                _add(archive, f"data/{i}", np.ascontiguousarray(array).reshape(-1).view("u1").data)
            _add(archive, "version", b"3\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error


def _little_endian(name: str, array) -> np.ndarray:
    if type(name) is not str:
        raise InputError(f"The array name {name!r} must be text.")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"The array name {name!r} must be valid Unicode.") from None
    array = np.asarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype not in _NAMES:
        raise InputError(
            f"{name} has the type {array.dtype}, which PyTorch has no storage for: "
            f"use one of {', '.join(str(dtype) for dtype in STORAGES.values())}."
        )
    return array


def _add(archive: zipfile.ZipFile, name: str, data: bytes | memoryview) -> None:
    """Adds an entry whose bytes start at a multiple of 64, so that PyTorch can map them."""
    info = zipfile.ZipInfo(f"archive/{name}")  # dated 1980: the same arrays make the same file
    info.file_size = len(data)
    assert archive.fp is not None, "open for writing"
    padding = -(archive.fp.tell() + 30 + len(info.filename) + 4) % _ALIGNMENT
    info.extra = struct.pack("<HH", 0x4246, padding) + bytes(padding)
    with archive.open(info, "w") as entry:
        entry.write(data)


def _pickled(arrays: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """The state dict in opcodes of protocol 2: `pickle` would import the names of torch."""
    yield b"\x80\x02ccollections\nOrderedDict\n)R("
    for i, (name, array) in enumerate(arrays.items()):
        strides = np.cumprod((1, *array.shape[:0:-1]), dtype=np.int64)[::-1][: array.ndim]
        yield _text(name)
        yield b"ctorch._utils\n_rebuild_tensor_v2\n(("
        yield _text("storage") + f"ctorch\n{_NAMES[array.dtype]}\n".encode()
        yield _text(str(i)) + _text("cpu") + _integers([array.size]) + b"tQ"
        yield _integers([0]) + b"(" + _integers(array.shape) + b"t"
        yield b"(" + _integers(strides.tolist()) + b"t\x89ccollections\nOrderedDict\n)RtR"
    yield b"u."


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return b"X" + struct.pack("<I", len(data)) + data


def _integers(values: Iterable[int]) -> bytes:
    return b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values)
