"""A pickle machine that can only build the description of a state dict.

Python's own unpickler runs what a file tells it to, and `find_class` is a thin fence around that.
This one knows just the opcodes a PyTorch state dict is made of, never imports or calls anything a
file names, and does work proportional to the length of the pickle, so a file cannot do harm.
"""

import struct
from collections.abc import Callable, Mapping
from mmap import mmap
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from glide_jax.errors import InputError

MAX_PICKLE_BYTES = (
    2 << 20
)  # a GLIDE model takes 0.15 MB; a byte of pickle costs up to 100 of memory
MAX_DIMENSIONS = 32

# The names PyTorch gives its storage types, and what they hold.
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
    """A view of a storage, as the file claims it: nothing in it has been checked but the types."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Module:
    """A module of a TorchScript program: its attributes by name, nothing of its class."""

    def __init__(self) -> None:
        """Without attributes, which come later."""
        self.attributes: dict[Any, Any] = {}


class _Global(NamedTuple):
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def is_script(self) -> bool:
        """Whether it is a class of a TorchScript program's own, which is never looked for."""
        return self.module.split(".")[0] == "__torch__"


class _Mark:
    """What the opcode MARK leaves on the stack."""


def read_pickle(
    data: mmap | bytes, start: int, end: int, source: str, *, scripts: bool = False
) -> tuple[Any, int]:
    """Reads one pickle from data[start:end]; returns its value and where it ended.

    Values are None, bool, int, float, str, list, tuple, dict, Storage and Tensor, and, if
    `scripts`, Module: the attributes of a TorchScript program's modules, whatever their class.

    Raises:
        InputError: the pickle is cut, malformed, too long, or asks for anything else.
    """
    machine = _Machine(data, start, min(end, start + MAX_PICKLE_BYTES), source, scripts)
    try:
        return machine.run(), machine.position
    except InputError:
        raise
    except EOFError:
        if machine.limit < end:
            raise machine.refusal(f"has a pickle of over {MAX_PICKLE_BYTES >> 20} MB") from None
        raise InputError(f"{source} ends inside its pickle: the file was cut.") from None
    except (IndexError, KeyError, TypeError, ValueError):
        raise machine.refusal("has a malformed pickle") from None


class _Machine:
    """The stack, the memo and the place in the file."""

    def __init__(self, data: mmap | bytes, start: int, limit: int, source: str, scripts: bool):
        self.data, self.position, self.limit, self.source = data, start, limit, source
        self.actions = {**_ACTIONS, b"\x81": _Machine.instance} if scripts else _ACTIONS
        self.scripts = scripts
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while True:
            opcode = self.take(1)
            if opcode == b".":
                (value,) = self.stack
                return value
            action = self.actions.get(opcode)
            if action is None:
                raise self.refusal(f"has the pickle opcode {opcode!r}, which no state dict needs")
            action(self)

    def refusal(self, what: str) -> InputError:
        return InputError(
            f"{self.source} {what}: only a file with a state dict of plain tensors can be read."
        )

    # Reading.

    def take(self, count: int) -> bytes:
        if count > self.limit - self.position:
            raise EOFError
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.limit)
        if end < 0:
            raise EOFError
        return self.take(end + 1 - self.position)[:-1].decode("utf-8")

    # The stack.

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

    # What opcodes do. Keys are strings and small numbers: others can be made to hash for ever.

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

    def find(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise TypeError
        wanted = _Global(module, name)
        known = wanted in _CALLS or (module == "torch" and name in STORAGES)
        if not known and not (self.scripts and wanted.is_script):
            raise self.refusal(f"asks for {_shown(wanted)}, which is not allowed")
        self.push(wanted)

    def reduce(self) -> None:
        function, arguments = self.pop(2)
        if type(function) is not _Global or function not in _CALLS or type(arguments) is not tuple:
            raise self.refusal(f"calls {_shown(function)}, which is not allowed")
        try:
            if len(arguments) > 7:  # looked at first: one long tuple can be the argument many times
                raise TypeError
            self.push(_CALLS[function](*arguments))
        except (TypeError, ValueError):
            raise self.refusal(f"calls {function} with wrong arguments") from None

    def instance(self) -> None:
        kind, arguments = self.pop(2)
        if type(kind) is not _Global or not kind.is_script or arguments != ():
            raise self.refusal(f"makes {_shown(kind)}, which is not allowed")
        self.push(Module())

    def build(self) -> None:
        target, state = self.pop(2)
        if type(target) is Module and type(state) is dict:
            target.attributes = state
            return self.push(target)
        # A module's state dict carries its `_metadata` this way; nothing else may have a state.
        if type(target) is not dict or type(state) is not dict:
            raise self.refusal(f"sets the state of a {type(target).__name__}, which is not allowed")
        self.push(target)

    def persistent(self) -> None:
        (wanted,) = self.pop(1)
        try:
            self.push(_storage(wanted))
        except (TypeError, ValueError):
            raise self.refusal("names a storage in a way PyTorch does not") from None

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
    """What PyTorch's `_rebuild_tensor_v2` describes; gradient flags and hooks are dropped."""
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


def _long(machine: _Machine) -> int:
    return int.from_bytes(machine.take(machine.number("B")), "little", signed=True)


def _protocol(machine: _Machine) -> None:
    if machine.number("B") > 5:
        raise ValueError


_ACTIONS: Mapping[bytes, Callable[[_Machine], Any]] = {
    b"\x80": _protocol,
    b"\x95": lambda m: m.number("<Q"),  # the length of a frame says nothing new
    b"(": lambda m: m.push(_Mark),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.number("B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"J": lambda m: m.push(m.number("<i")),
    b"\x8a": lambda m: m.push(_long(m)),
    b"G": lambda m: m.push(m.number(">d")),
    b"X": lambda m: m.push(m.take(m.number("<I")).decode("utf-8")),
    b"\x8c": lambda m: m.push(m.take(m.number("B")).decode("utf-8")),
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m.push(tuple(m.pop(1))),
    b"\x86": lambda m: m.push(tuple(m.pop(2))),
    b"\x87": lambda m: m.push(tuple(m.pop(3))),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.extend(m.pop(1)),
    b"e": lambda m: m.extend(m.pop_to_mark()),
    b"}": lambda m: m.push({}),
    b"s": lambda m: m.fill(m.pop(2)),
    b"u": lambda m: m.fill(m.pop_to_mark()),
    b"q": lambda m: m.put(m.number("B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"h": lambda m: m.push(m.memo[m.number("B")]),
    b"j": lambda m: m.push(m.memo[m.number("<I")]),
    b"c": lambda m: m.find(m.line(), m.line()),
    b"\x93": lambda m: m.find(*m.pop(2)),
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"Q": _Machine.persistent,
}
