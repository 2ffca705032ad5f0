"""A pickle machine that can only build the description of a state dict.

Python's own unpickler runs whatever a file names, and `find_class` is only a thin fence around it.
This machine reads opcodes by `pickletools`, which executes nothing, and knows only those that
checkpoints are made of. It never imports or calls anything that a file names, and its work is
proportional to the length of the pickle, so a file cannot do harm. What trainers keep beside a
state dict (numbers of NumPy, a Namespace, an optimizer) becomes an `Other`, of which nothing but
the name is known.
"""

import contextlib
import io
import pickletools
from collections.abc import Callable, Iterator, Mapping
from mmap import mmap
from typing import Any

from glide_jax.checkpoints.torch.pickle_values import (
    STORAGES,
    Global,
    Module,
    Other,
    Storage,
    Tensor,
)
from glide_jax.errors import InputError

# A GLIDE model's pickle takes 0.15 MB, and each byte of a pickle costs up to 100 bytes of memory.
MAX_PICKLE_BYTES = 2 << 20
MAX_DIMENSIONS = 32
MAX_PROTOCOL = 5


class _Mark:
    """The stack entry that the opcode MARK leaves."""


def read_pickle(
    data: mmap | bytes, start: int, end: int, source: str, *, scripts: bool = False
) -> tuple[Any, int]:
    """Reads one pickle; returns its value and the position behind it.

    The value consists of None, bool, int, float, str, bytes, list, tuple, dict, Storage, Tensor and
    Other, and, if `scripts`, of Module.

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
        if action is None:
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
            f"{self.source} {fault}: save the state dict alone, as in "
            "torch.save(model.state_dict(), path)."
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
        if type(target) not in (dict, Other) or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(target) is dict:
                simple = type(key) is str or (type(key) is int and 0 <= key < 1 << 20)
                target[key if simple else Other(f"a key of type {type(key).__name__}")] = value

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is not Other:
            raise TypeError

    def name_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise TypeError
        self.push(Global(module, name))

    def reduce(self, _: None) -> None:
        function, arguments = self.pop(2)
        self.call(function, arguments)

    def call(self, function: Any, arguments: Any) -> None:
        named = type(function) is Global and type(arguments) is tuple
        if not named or not (function in _CALLS or function.is_data):
            raise self.refusal(f"calls {_shown(function)}, which is not allowed")
        if function not in _CALLS:
            return self.push(Other(str(function)))
        try:
            if len(arguments) > 7:  # looked at first: one long tuple can be the argument many times
                raise TypeError
            self.push(_CALLS[function](*arguments))
        except (TypeError, ValueError):
            raise self.refusal(f"calls {function} with wrong arguments") from None

    def instance(self, _: None) -> None:
        kind, arguments = self.pop(2)
        script = type(kind) is Global and kind.is_script and arguments == () and self.scripts
        if type(kind) is not Global or (self.scripts and not script):
            raise self.refusal(f"makes {_shown(kind)}, which is not allowed")
        self.push(Module() if script else Other(str(kind)))

    def build(self, _: None) -> None:
        target, state = self.pop(2)
        if type(target) is Module and type(state) is dict:
            target.attributes = state
        # A module's state dict carries its `_metadata` this way.
        elif type(target) is not Other and not (type(target) is dict and type(state) is dict):
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


def _storage(wanted: Any) -> Storage | Other:
    if type(wanted) is not tuple or len(wanted) not in (5, 6) or wanted[5:] not in ((), (None,)):
        raise TypeError
    tag, kind, key, place, count = wanted[:5]
    types = [type(item) for item in (tag, kind, key, place, count)]
    if types != [str, Global, str, str, int] or tag != "storage" or kind.root != "torch":
        raise TypeError
    if kind.module != "torch" or kind.name not in STORAGES:
        return Other(str(kind))
    return Storage(STORAGES[kind.name], key, count)


def _tensor(storage, offset, shape, strides, *_unused) -> Tensor | Other:
    """The tensor of PyTorch's `_rebuild_tensor_v2`, without gradient flags and hooks."""
    if type(storage) is Other:
        return storage
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise TypeError
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise ValueError
    if any(type(number) is not int for number in (offset, *shape, *strides)):
        raise TypeError
    return Tensor(storage, offset, shape, strides)


def _parameter(data, _requires_grad, _hooks, _state=None) -> Tensor | Other:
    if type(data) not in (Tensor, Other):
        raise TypeError
    return data


def _member(owner: Any, name: Any) -> Other:
    """An enumeration's value, as Python 3.11.2 writes it."""
    if type(owner) is not Global or not owner.is_data or type(name) is not str:
        raise TypeError
    return Other(str(owner))


_CALLS: Mapping[tuple[str, str], Callable] = {
    Global("builtins", "getattr"): _member,
    Global("__builtin__", "getattr"): _member,
    Global("collections", "OrderedDict"): lambda: {},
    Global("collections", "defaultdict"): lambda _factory=None: {},
    Global("collections", "Counter"): lambda _counts=None: {},
    Global("torch._utils", "_rebuild_tensor"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Global("torch._utils", "_rebuild_parameter"): _parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}


def _shown(thing: Any) -> str:
    """A name from a file that may be hostile, short and printable."""
    text = str(thing) if type(thing) is Global else ""
    return ascii(text[:80])[1:-1] or f"a {type(thing).__name__}"


def _check_protocol(_: _Machine, version: int) -> None:
    if version > MAX_PROTOCOL:
        raise ValueError


_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_TEXTS = (
    "BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
    "BYTEARRAY8",
)  # fmt: skip
_ACTIONS: Mapping[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": _check_protocol,
    "FRAME": lambda m, length: None,
    "MARK": lambda m, _: m.push(_Mark),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    **dict.fromkeys((*_NUMBERS, *_TEXTS), _Machine.push),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.push(tuple(m.pop(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.pop(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.pop(3))),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "APPEND": lambda m, _: m.extend(m.pop(1)),
    "APPENDS": lambda m, _: m.extend(m.pop_to_mark()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_SET": lambda m, _: m.push(Other("set")),
    "ADDITEMS": lambda m, _: m.extend(m.pop_to_mark()),
    "FROZENSET": lambda m, _: (m.pop_to_mark(), m.push(Other("frozenset"))),
    "SETITEM": lambda m, _: m.fill(m.pop(2)),
    "SETITEMS": lambda m, _: m.fill(m.pop_to_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda m, index: m.push(m.memo[index])),
    "GLOBAL": lambda m, names: m.name_global(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.name_global(*m.pop(2)),
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.instance,
    "NEWOBJ_EX": lambda m, _: m.pop(1) and m.instance(None),
    "OBJ": lambda m, _: (lambda items: m.call(items[0], tuple(items[1:])))(m.pop_to_mark()),
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
    "STOP": _Machine.stop,
}
