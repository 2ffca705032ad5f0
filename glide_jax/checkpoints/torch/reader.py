"""PyTorch state-dict files, read without PyTorch.

Tensors come as read-only views of the memory-mapped file: a file of 1.5 GB takes no memory until
its numbers are used, and a file that claims more than it holds is refused before anything is made.
"""

import functools
import math
import mmap
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from glide_jax import files
from glide_jax.checkpoints.torch import pickles
from glide_jax.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_ENTRIES = 200_000
_MAX_NAME = 1000  # letters of a tensor's name
_MAX_EMPTY = 1 << 40  # largest product of the sizes of a tensor without elements, without zeros

# Files that people give instead of a checkpoint: first bytes -> a description and a remedy.
_FETCH_AGAIN = "fetch the checkpoint itself again"
_LOOKALIKES: Mapping[bytes, str] = {
    b"{": f"is a JSON document: {_FETCH_AGAIN}",
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    b"\x93NUMPY": "is a NumPy array, not a PyTorch checkpoint",
    b"\x89HDF": "is an HDF5 file, not a PyTorch checkpoint",
    b"\x80": "is a pickle, but not a PyTorch checkpoint",
}


class _Block(NamedTuple):
    """A place in the file."""

    start: int
    size: int


_FindBlock = Callable[[str], _Block | None]  # a storage's place by its key


def read_state_dict(path: str | os.PathLike, *, scripts: bool = False) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch state-dict file by name, in its order.

    Both formats are read: the zip file that `torch.save` writes since 1.6, and the older one. A
    dict that holds one state dict, such as {"state_dict": ...}, is unwrapped, and what lies beside
    it is left out. Nothing in the file is ever run. The arrays are read-only and lie in the file:
    do not change it while they live.

    Args:
        path: the file.
        scripts: also accept a TorchScript program (`torch.jit.save`); the tensors of its modules
            are read, and its code is ignored.

    Raises:
        InputError: the file is missing, cut, something else, or needs more than plain tensors.
    """
    path = pathlib.Path(path)
    data = _mapped(path)
    if data[:4] == b"PK\x03\x04":
        tree, blocks = _read_zip(path, data, scripts)
    elif data[257:262] == b"ustar":
        raise InputError(f"{path} is a tar archive: unpack it, or save the checkpoint anew.")
    elif data[8:9] == b"{" and struct.unpack("<Q", data[:8])[0] < 1 << 32:
        raise InputError(f"{path} is a safetensors file, not a PyTorch checkpoint (.pt).")
    else:
        tree, blocks = _read_legacy(path, data)
    state = _state_dict(tree, path)
    return {name: _array(data, name, tensor, blocks, path) for name, tensor in state.items()}


def _mapped(path: pathlib.Path) -> mmap.mmap:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the checkpoint file (.pt) itself.")
    if files.is_stream(path):
        raise InputError(f"{path} is no file: give the path of a PyTorch .pt file.")
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise InputError(f"{path} is empty: {_FETCH_AGAIN}.")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give the path of a PyTorch .pt file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


# The zip format: data.pkl with the tree, and one uncompressed entry for each storage.


def _read_zip(path: pathlib.Path, data: mmap.mmap, scripts: bool) -> tuple[Any, _FindBlock]:
    entries = _entries(path)
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1 or "/" in roots[0][:-1]:
        raise InputError(f"{path} is a zip archive, but not one that PyTorch's `torch.save` wrote.")
    root = roots[0]
    is_script = f"{root}constants.pkl" in entries
    if is_script and not scripts:
        raise InputError(
            f"{path} is a TorchScript program: save the model's state_dict() with torch.save."
        )
    order = entries.get(f"{root}byteorder")
    if order is not None:
        start, size = _entry(path, data, order)
        if data[start : start + min(size, 16)] != b"little":
            raise InputError(
                f"{path} was saved on a big-endian machine: save it on a little-endian one."
            )
    start, size = _entry(path, data, entries[f"{root}data.pkl"])
    tree, _ = pickles.read_pickle(data, start, start + size, str(path), scripts=is_script)
    if is_script:
        tree = _tensors_of(tree, path)

    @functools.cache  # tensors may share a storage, which is summed up once
    def block(key: str) -> _Block | None:
        entry = entries.get(f"{root}data/{key}")
        return entry and _entry(path, data, entry)

    return tree, block


def _entries(path: pathlib.Path) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        raise InputError(
            f"{path} starts like a PyTorch checkpoint but its end is missing or damaged: "
            f"the file was probably cut, {_FETCH_AGAIN}."
        ) from None
    entries = {info.filename: info for info in listed}
    if len(entries) != len(listed) or len(listed) > _MAX_ENTRIES:
        raise InputError(f"{path} has entries of the same name, or far too many: it was damaged.")
    return entries


def _entry(path: pathlib.Path, data: mmap.mmap, info: zipfile.ZipInfo) -> _Block:
    name = ascii(info.filename[:80])
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise InputError(
            f"{path} has the entry {name} compressed or encrypted, which PyTorch never does: "
            "save the checkpoint anew with torch.save."
        )
    head = data[info.header_offset : info.header_offset + 30] if info.header_offset >= 0 else b""
    if len(head) == 30 and head[:4] == b"PK\x03\x04":
        start = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:]))
        if info.file_size == info.compress_size and 0 <= info.file_size <= len(data) - start:
            if zlib.crc32(memoryview(data)[start : start + info.file_size]) != info.CRC:
                raise InputError(
                    f"{path} has the entry {name} with another checksum than its own: it was "
                    f"damaged, {_FETCH_AGAIN}."
                )
            return _Block(start, info.file_size)
    raise InputError(f"{path} has no room for the entry {name} it lists: the file was damaged.")


# The older format: four pickles, a list of storage keys, and the storages one after the other.


def _read_legacy(path: pathlib.Path, data: mmap.mmap) -> tuple[Any, _FindBlock]:
    end, source = len(data), str(path)
    try:
        magic, position = pickles.read_pickle(data, 0, end, source)
    except InputError:
        magic = None
    if magic != _LEGACY_MAGIC:
        raise InputError(f"{path} {files.impostor(path) or _lookalike(data)}.")
    version, position = pickles.read_pickle(data, position, end, source)
    about, position = pickles.read_pickle(data, position, end, source)
    if version != 1001 or type(about) is not dict or about.get("little_endian") is not True:
        raise InputError(f"{path} has an old format or byte order: save it anew with torch.save.")
    tree, position = pickles.read_pickle(data, position, end, source)
    _state_dict(tree, path)  # what is wrong with it is said before what is wrong with the rest
    keys, position = pickles.read_pickle(data, position, end, source)
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise InputError(f"{path} has no list of storages where one belongs: it was damaged.")
    places = _places(path, data, tree, keys, position)

    return tree, places.get


def _places(path, data: mmap.mmap, tree: Any, keys: list[str], position: int) -> dict[str, _Block]:
    """The storages' places; each starts with its count, and its type stands in the tree only."""
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in _tensors(tree)}
    places = {}
    for key in keys:
        if key not in dtypes:
            raise InputError(f"{path} has a storage that no tensor uses: save only the state dict.")
        count = int.from_bytes(data[position : position + 8], "little")
        position += 8
        size = count * dtypes[key].itemsize
        if size > len(data) - position:
            raise InputError(f"{path} ends inside its numbers: the file was cut, {_FETCH_AGAIN}.")
        places[key] = _Block(position, size)
        position += size
    return places


def _tensors(tree: Any) -> list[pickles.Tensor]:
    """Every tensor in a tree of dicts, lists and tuples, each container looked into once."""
    found, waiting, seen = [], [tree], set()
    while waiting:
        node = waiting.pop()
        if type(node) is pickles.Tensor:
            found.append(node)
        elif type(node) in (dict, list, tuple) and id(node) not in seen:
            seen.add(id(node))
            waiting.extend(node.values() if type(node) is dict else node)
    return found


def _lookalike(data: mmap.mmap) -> str:
    head = data[:64].lstrip()
    for start, what in _LOOKALIKES.items():
        if head.startswith(start):
            return what
    return f"is not a PyTorch checkpoint (it starts with {ascii(data[:8])[2:-1]})"


# From the tree to arrays.


def _state_dict(tree: Any, path: pathlib.Path) -> dict[str, pickles.Tensor]:
    if type(tree) is not dict:
        raise InputError(
            f"{path} holds a {_shown(tree)}, not a dict of named tensors: save the state dict "
            "alone, as in torch.save(model.state_dict(), path)."
        )
    if _is_state_dict(tree):
        return tree
    loose = any(type(value) is pickles.Tensor for value in tree.values())
    inner, level, seen = [], [tree], set()
    while level and not inner and not loose:  # the nearest ones: an optimizer's lie deeper
        inside = [one for node in level for one in node.values() if type(one) is dict]
        level = [one for one in {id(one): one for one in inside}.values() if id(one) not in seen]
        seen.update(map(id, level))
        inner = [one for one in level if _is_state_dict(one)]
    if len(inner) == 1:
        return inner[0]
    names = ascii(", ".join(f"{_shown(key)} ({_shown(tree[key])})" for key in list(tree)[:8]))[:200]
    what = f"{len(inner)} dicts of tensors" if inner else "no tensors"
    what = "tensors beside other things" if loose else what
    raise InputError(
        f"{path} holds {what} ({names[1:-1] or 'nothing'}): save the one state dict alone."
    )


def _shown(value: Any) -> str:
    """A key, or what a value is, short and printable."""
    text = value if type(value) is str else getattr(value, "name", type(value).__name__)
    text = str(value) if type(value) is int else text
    return ascii(text[:80])[1:-1]


def _tensors_of(program: Any, path: pathlib.Path) -> dict[str, pickles.Tensor]:
    """The state dict of a TorchScript program: names of modules joined by dots."""
    found, waiting, seen = {}, [("", program)], set()
    while waiting:
        name, node = waiting.pop()
        if type(node) is pickles.Tensor:
            found[name] = node
        elif type(node) is pickles.Module:
            # Either could be made to take for ever.
            if id(node.attributes) in seen or len(name) > _MAX_NAME:
                raise InputError(f"{path} holds a module twice or too deep: save its state_dict().")
            seen.add(id(node.attributes))
            for key, value in reversed(node.attributes.items()):
                waiting.append((f"{name}.{key}" if name else str(key), value))
    return found


def _is_state_dict(value: Any) -> bool:
    return (
        type(value) is dict
        and len(value) > 0
        and all(type(k) is str and type(v) is pickles.Tensor for k, v in value.items())
    )


def _array(data, name, tensor: pickles.Tensor, find_block: _FindBlock, path) -> np.ndarray:
    """A view of the file, after every number the file claims about it has been checked."""
    storage, offset, shape, strides = tensor
    step, block = storage.dtype.itemsize, find_block(storage.key)
    if block is None:
        raise InputError(f"{path} lacks the storage {storage.key[:40]!a}: it was damaged.")
    start, stored = block
    size, count = math.prod(shape), stored // step
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if (
        min((offset, *shape, *strides)) < 0
        or (size and not last < min(count, storage.count))
        or size > count
        or math.prod(n for n in shape if n) > _MAX_EMPTY
    ):
        raise InputError(
            f"{path} has a tensor {name[:80]!a} that reaches outside its {count} stored "
            "numbers, or repeats them: save it contiguous with torch.save."
        )
    if not size:
        return np.empty(shape, storage.dtype)
    # The stride of an axis of length one means nothing and may be anything.
    steps = [stride * step if n > 1 else 0 for n, stride in zip(shape, strides, strict=True)]
    return np.ndarray(shape, storage.dtype, data, start + offset * step, steps)
