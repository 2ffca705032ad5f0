"""Writes PyTorch state-dict files without PyTorch."""

import os
import struct
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

from glide_jax import files
from glide_jax.checkpoints.torch.pickles import STORAGES
from glide_jax.errors import InputError

_ALIGNMENT = 64
_NAMES = {dtype: name for name, dtype in STORAGES.items()}


def write_state_dict(path: str | os.PathLike, state: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays as `torch.load(path, weights_only=True)` reads them: tensors on the CPU.

    The same arrays make the same bytes, and the file appears whole or not at all.

    Raises:
        InputError: a name is no text, an array has a type PyTorch lacks, or `path` cannot be made.
    """
    arrays = {name: _little_endian(name, array) for name, array in state.items()}
    if not arrays:
        raise InputError(f"There are no arrays to write to {path}: give at least one.")
    tree = b"".join(_pickled(arrays))
    try:
        with (
            files.replacing(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
        ):
            _add(archive, "archive/data.pkl", tree)
            _add(archive, "archive/byteorder", b"little")
            for i, array in enumerate(arrays.values()):
                _add(archive, f"archive/data/{i}", _bytes(array))
            _add(archive, "archive/version", b"3\n")
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


def _bytes(array: np.ndarray) -> memoryview:
    # Seen as bytes: bfloat16 has no buffer format of its own.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _add(archive: zipfile.ZipFile, name: str, data: bytes | memoryview) -> None:
    """Adds an entry whose bytes start at a multiple of 64, so that PyTorch can map them."""
    info = zipfile.ZipInfo(name)  # dated 1980, so that the same arrays make the same file
    info.file_size = len(data)
    assert archive.fp is not None, "open for writing"
    start = archive.fp.tell() + 30 + len(name) + 4
    padding = -start % _ALIGNMENT
    info.extra = struct.pack("<HH", 0x4246, padding) + bytes(padding)
    with archive.open(info, "w") as entry:
        entry.write(data)


# The pickle, in the few opcodes of protocol 2 that it takes.


def _pickled(arrays: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    yield b"\x80\x02ccollections\nOrderedDict\n)R("
    for i, (name, array) in enumerate(arrays.items()):
        strides = np.cumprod((1, *array.shape[:0:-1]), dtype=np.int64)[::-1][: array.ndim]
        yield _text(name)
        yield b"ctorch._utils\n_rebuild_tensor_v2\n(("
        yield _text("storage") + f"ctorch\n{_NAMES[array.dtype]}\n".encode()
        yield _text(str(i)) + _text("cpu") + _integer(array.size) + b"tQ"
        yield _integer(0) + _integers(array.shape) + _integers(strides.tolist())
        yield b"\x89ccollections\nOrderedDict\n)RtR"
    yield b"u."


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def _integers(values) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"
