"""The values that a PyTorch checkpoint's pickle holds, and the names that it may ask for."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

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
# What checkpoints ask to be called of Python's own library and of PyTorch, besides tensors. Other
# names of these have no place in one; names of other packages are a trainer's own.
_OWN = (*sys.stdlib_module_names, "__builtin__", "copy_reg", "torch")
_DATA = {
    # Paths of Python 3.13 name a module of pathlib.
    **dict.fromkeys(("datetime", "pathlib", "pathlib._local", "decimal", "fractions", "uuid"), ()),
    "argparse": ("Namespace",),
    "collections": ("deque",),
    "functools": ("partial",),
    "logging": ("getLogger",),
    "re": ("_compile",),
    "types": ("SimpleNamespace",),
    "_codecs": ("encode",),
    "copyreg": ("_reconstructor",),
    "copy_reg": ("_reconstructor",),
    "builtins": ("set", "frozenset", "complex", "slice", "range", "bytearray"),
    "__builtin__": ("set", "frozenset", "complex", "slice", "xrange", "bytearray"),
    "torch": ("device", "Size", "Generator"),
    **dict.fromkeys(("torch._utils", "torch._tensor", "torch.storage"), ()),
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


@dataclasses.dataclass(eq=False, slots=True)
class Other:
    """Anything else, which is neither made nor looked into.

    Attributes:
        name: its class or what makes it, from the file.
    """

    name: str


class Global(NamedTuple):
    """The name of a class or function that a pickle wants; it is looked up in a table alone."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def root(self) -> str:
        """The package of the module."""
        return self.module.split(".")[0]

    @property
    def is_script(self) -> bool:
        """Whether a TorchScript program defines this class itself; it is never looked up."""
        return self.root == "__torch__"

    @property
    def is_data(self) -> bool:
        """Whether a call of it may be passed over, as one that makes a value."""
        if self.module in _DATA:
            return not _DATA[self.module] or self.name in _DATA[self.module]
        return self.root not in _OWN and not self.is_script
