"""A pickle machine that can only build the description of a state dict.

Python's own unpickler runs whatever a file names, and `find_class` is only a thin fence around it.
This machine reads opcodes by `pickletools`, which executes nothing, and knows only those that a
PyTorch state dict is made of. It never imports or calls anything that a file names, and its work is
proportional to the length of the pickle, so a file cannot do harm.
"""

import contextlib
import dataclasses
import io
import pickletools
from collections.abc import Callable, Iterator, Mapping
from mmap import mmap
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from glide_jax.errors import InputError

# A GLIDE model's pickle takes 0.15 MB, and each byte of a pickle costs up to 100 bytes of memory.
MAX_PICKLE_BYTES = 2 << 20
MAX_DIMENSIONS = 32
MAX_PROTOCOL = 5

# PyTorch's names of its storage types, and their numbers' dtypes.
STORAGES: Mapping[str, np.dtype] = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


class Storage(NamedTuple):
    """A run of numbers somewhere in the file."""

    dtype: np.dtype
    key: str
    count: int


class Tensor(NamedTuple):
    """A view of a storage, as the file claims it: only the types have been checked."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(eq=False)
class Module:
    """A module of a TorchScript program: its attributes by name, whatever its class."""

    attributes: dict[Any, Any] = dataclasses.field(default_factory=dict)


class _Global(NamedTuple):
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def is_script(self) -> bool:
        """Whether a TorchScript program defines this class itself; it is never looked up."""
        return self.module.split(".")[0] == "__torch__"


class _Mark:
    """The stack entry that the opcode MARK leaves."""


def read_pickle(
    data: mmap | bytes, start: int, end: int, source: str, *, scripts: bool = False
) -> tuple[Any, int]:
    """Reads one pickle; returns its value and the position behind it.

    The value consists of None, bool, int, float, str, list, tuple, dict, Storage and Tensor, and,
    if `scripts`, of Module.

    Args:
        data: the bytes of the file.
        start: position of the pickle in the file.
        end: position that the pickle cannot pass.
        source: name of the file, for messages.
        scripts: accept the modules of a TorchScript program too.

    Raises:
        InputError: the pickle is cut, malformed, too long, or needs anything else.
    """
    limit = min(end, start + MAX_PICKLE_BYTES)
    stream = io.BytesIO(data[start:limit])
    machine = _Machine(source, scripts)
    for opcode, argument, position in _opcodes(stream):
        machine.step(opcode, argument)
        if opcode.name == "STOP":
            return machine.stack[0], start + position + 1
    if stream.tell() < limit - start:
        raise machine.refusal("has a malformed pickle")
    if limit < end:
        raise machine.refusal(f"has a pickle of over {MAX_PICKLE_BYTES >> 20} MB")
    raise InputError(f"{source} ends inside its pickle: the file was cut.")


def _opcodes(stream: io.BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any, Any]]:
    """Yields opcodes, arguments and positions, up to the first that cannot be read."""
    with contextlib.suppress(ValueError):
        yield from pickletools.genops(stream)


class _Machine:
    """The stack and the memo."""

    def __init__(self, source: str, scripts: bool):
        self.source, self.scripts = source, scripts
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        action = _ACTIONS.get(opcode.name)
        if action is None or (action is _Machine.instance and not self.scripts):
            code = opcode.code.encode("latin-1")
            raise self.refusal(f"has the pickle opcode {code!r}, which no state dict needs")
        try:
            action(self, argument)
        except InputError:
            raise
        except (IndexError, KeyError, TypeError, ValueError):
            raise self.refusal("has a malformed pickle") from None

    def refusal(self, fault: str) -> InputError:
        return InputError(
            f"{self.source} {fault}: only a file with a state dict of plain tensors can be read."
        )

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _Mark:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise IndexError

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        items = self.stack[len(self.stack) - count :]
        if any(item is _Mark for item in items):
            raise IndexError
        del self.stack[len(self.stack) - count :]
        return items

    # The opcodes. Keys are strings and small numbers, since others can be made to hash for ever.

    def fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str and not (type(key) is int and 0 <= key < 1 << 20):
                kind = type(key).__name__
                raise self.refusal(f"has a key of type {kind} that is no name or index")
            target[key] = value

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError
        target.extend(items)

    def name_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise TypeError
        wanted = _Global(module, name)
        known = wanted in _CALLS or (module == "torch" and name in STORAGES)
        if not known and not (self.scripts and wanted.is_script):
            raise self.refusal(f"asks for {_shown(wanted)}, which is not allowed")
        self.push(wanted)

    def reduce(self, _: None) -> None:
        function, arguments = self.pop(2)
        if type(function) is not _Global or function not in _CALLS or type(arguments) is not tuple:
            raise self.refusal(f"calls {_shown(function)}, which is not allowed")
        try:
            if len(arguments) > 7:  # looked at first: one long tuple can be the argument many times
                raise TypeError
            self.push(_CALLS[function](*arguments))
        except (TypeError, ValueError):
            raise self.refusal(f"calls {function} with wrong arguments") from None

    def instance(self, _: None) -> None:
        kind, arguments = self.pop(2)
        if type(kind) is not _Global or not kind.is_script or arguments != ():
            raise self.refusal(f"makes {_shown(kind)}, which is not allowed")
        self.push(Module())

    def build(self, _: None) -> None:
        target, state = self.pop(2)
        if type(target) is Module and type(state) is dict:
            target.attributes = state
            return self.push(target)
        # A module's state dict carries its `_metadata` this way; nothing else may have a state.
        if type(target) is not dict or type(state) is not dict:
            raise self.refusal(f"sets the state of a {type(target).__name__}, which is not allowed")
        self.push(target)

    def persistent(self, _: None) -> None:
        (wanted,) = self.pop(1)
        try:
            self.push(_storage(wanted))
        except (TypeError, ValueError):
            raise self.refusal("names a storage in a way PyTorch does not") from None

    def stop(self, _: None) -> None:
        if len(self.stack) != 1:
            raise IndexError

    def put(self, index: int) -> None:
        if self.stack[-1] is _Mark:
            raise IndexError
        self.memo[index] = self.stack[-1]


def _storage(wanted: Any) -> Storage:
    if type(wanted) is not tuple or len(wanted) not in (5, 6) or wanted[5:] not in ((), (None,)):
        raise TypeError
    tag, kind, key, place, count = wanted[:5]
    types = [type(item) for item in (tag, kind, key, place, count)]
    if types != [str, _Global, str, str, int] or tag != "storage" or kind.module != "torch":
        raise TypeError
    return Storage(STORAGES[kind.name], key, count)


def _tensor(storage, offset, shape, strides, *_unused) -> Tensor:
    """The tensor of PyTorch's `_rebuild_tensor_v2`, without gradient flags and hooks."""
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise TypeError
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise ValueError
    if any(type(number) is not int for number in (offset, *shape, *strides)):
        raise TypeError
    return Tensor(storage, offset, shape, strides)


def _parameter(data, _requires_grad, _hooks) -> Tensor:
    if type(data) is not Tensor:
        raise TypeError
    return data


_CALLS: Mapping[tuple[str, str], Callable] = {
    _Global("collections", "OrderedDict"): lambda: {},
    _Global("torch._utils", "_rebuild_tensor"): _tensor,
    _Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
    _Global("torch._utils", "_rebuild_parameter"): _parameter,
}


def _shown(thing: Any) -> str:
    """A name from a file that may be hostile, short and printable."""
    text = str(thing) if type(thing) is _Global else ""
    return ascii(text[:80])[1:-1] or f"a {type(thing).__name__}"


def _check_protocol(_: _Machine, version: int) -> None:
    if version > MAX_PROTOCOL:
        raise ValueError


_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_ACTIONS: Mapping[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": _check_protocol,
    "FRAME": lambda m, length: None,
    "MARK": lambda m, _: m.push(_Mark),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    **dict.fromkeys((*_NUMBERS, "BINUNICODE", "SHORT_BINUNICODE"), _Machine.push),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.push(tuple(m.pop(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.pop(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.pop(3))),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "APPEND": lambda m, _: m.extend(m.pop(1)),
    "APPENDS": lambda m, _: m.extend(m.pop_to_mark()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "SETITEM": lambda m, _: m.fill(m.pop(2)),
    "SETITEMS": lambda m, _: m.fill(m.pop_to_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda m, index: m.push(m.memo[index])),
    "GLOBAL": lambda m, names: m.name_global(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.name_global(*m.pop(2)),
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.instance,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
    "STOP": _Machine.stop,
}
