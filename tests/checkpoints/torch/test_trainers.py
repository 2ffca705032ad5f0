"""Checkpoints as trainers save them: the state dict is read, whatever lies beside it."""

import argparse
import collections
import datetime
import decimal
import enum
import functools
import pathlib
import pickle
import re
import sys
import types
import zlib

import numpy as np
import pytest

from glide_jax.checkpoints.torch import reader, writer
from glide_jax.errors import InputError
from tests.checkpoints.torch.test_reader import FOUR, storage, tensor, text, zipped


class Config:
    def __init__(self):
        self.rate = np.float64(1e-4)


class Settings(dict):
    pass


class Mode(enum.Enum):
    FAST = 1


OPTIMIZER = {
    "state": {0: {"step": 3, "rate": np.float32(0.1)}},
    "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1]}],
}
BESIDE = {
    "a NumPy number": np.float64(0.5),
    "a NumPy flag": np.bool_(True),
    "a NumPy array": np.arange(6).reshape(2, 3),
    "random states": {"numpy": np.random.RandomState(0).get_state(), "seed": np.int64(7)},
    "a generator": np.random.default_rng(0),
    "a dtype": np.dtype(np.float16),
    "a Namespace": argparse.Namespace(lr=np.float32(1), out=pathlib.Path("runs"), n=[1, 2]),
    "times": [datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), datetime.timedelta(3)],
    "a path": pathlib.PurePosixPath("/data"),
    "an optimizer": OPTIMIZER,
    "a default dict": collections.defaultdict(list, {"a": [1]}),
    "a counter": collections.Counter("aab"),
    "a queue": collections.deque([1.0, 2.0], maxlen=5),
    "sets": [{1, 2}, frozenset("ab"), set()],
    "bytes": [b"abc", bytearray(b"x"), 1 + 2j, slice(1, 2), range(3)],
    "a class": Config,
    "an object of a class": Config(),
    "a dict of a class": Settings(a=1),
    "an enumeration": Mode.FAST,
    "a pattern": re.compile("a+"),
    "a simple namespace": types.SimpleNamespace(a=1),
    "a partial": functools.partial(max, 1),
    "a decimal": decimal.Decimal("0.1"),
    "keys of other types": {None: 1, (1, 2): 2, 1.5: 3, -1: 4, Config: 5, 1 << 40: 6, b"k": 7},
    "nothing": None,
    "much": list(range(5000)),
}
OF_TORCH = {
    "an enumeration of Python 3.11.2": b"cbuiltins\ngetattr\nctrain\nMode\n"
    + text("FAST")
    + b"\x86R",
    "a path of Python 3.13": b"cpathlib._local\nPosixPath\n(" + text("runs") + b"tR",
    "a device": b"ctorch\ndevice\n" + text("cuda") + b"\x85R",
    "a size": b"ctorch\nSize\n(K\x01K\x02t\x85R",
    "a type": b"ctorch\nfloat32\n",
    "a storage of another type": b"ctorch._utils\n_rebuild_tensor_v2\n("
    + storage(b"QInt8Storage", key="9")
    + b"K\x00(t(t\x89NtR",
    "a scheduler": b"ctorch.optim.lr_scheduler\nStepLR\n)\x81}" + text("last") + b"K\x01sb",
    "a sparse tensor": b"ctorch._utils\n_rebuild_sparse_tensor\nK\x00K\x00\x86R",
}


def body(value: object, protocol: int) -> bytes:
    """A value's opcodes without the pickle's head and end."""
    data = pickle.dumps(value, protocol)
    return data[11 if data[2:3] == b"\x95" else 2 : -1]


def checkpoint(beside: bytes, *, first: bool = True) -> bytes:
    """A pickle of a state dict and of something else, in either order."""
    items = [text("extra") + beside, text("state_dict") + b"}(" + text("w") + tensor() + b"u"]
    return b"\x80\x02}(" + b"".join(items if first else items[::-1]) + b"u."


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_lies_beside_the_state_dict_is_not_looked_into(name, protocol, tmp_path):
    tree = checkpoint(body(BESIDE[name], protocol))
    assert read(zipped(tmp_path / "a.pt", tree, [FOUR])) == {"w": [1, 2, 3, 4]}


@pytest.mark.parametrize("name", OF_TORCH)
@pytest.mark.parametrize("first", [True, False])
def test_nor_is_what_pytorch_keeps_there(name, first, tmp_path):
    tree = checkpoint(OF_TORCH[name], first=first)
    assert read(zipped(tmp_path / "a.pt", tree, [FOUR])) == {"w": [1, 2, 3, 4]}


def test_nothing_is_imported_or_made_for_it(tmp_path):
    class_of_nowhere = b"cno_such_package.configs\nConfig\n)\x81}" + text("a") + b"K\x01sb"
    before = set(sys.modules)
    path = zipped(tmp_path / "a.pt", checkpoint(class_of_nowhere), [FOUR])
    assert read(path) == {"w": [1, 2, 3, 4]}
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "name",
    ["os\nsystem", "builtins\neval", "subprocess\nPopen", "torch\nload", "posix\nsystem",
     "__builtin__\neval", "types\nFunctionType"],
)  # fmt: skip
def test_a_call_that_has_no_place_in_a_checkpoint_refuses_all_of_it(name, tmp_path):
    tree = checkpoint(b"c" + name.encode() + b"\n" + text("touch x") + b"\x85R")
    with pytest.raises(InputError) as caught:
        read(zipped(tmp_path / "a.pt", tree, [FOUR]))
    assert f"calls {name.replace(chr(10), '.')}, which is not allowed" in str(caught.value)
    assert "torch.save(model.state_dict(), path)" in str(caught.value)


@pytest.mark.parametrize("owner", [b"cos\npath\n", b"cbuiltins\ndict\n", b"K\x01"])
def test_a_member_of_anything_but_a_class_of_data_refuses_all_of_it(owner, tmp_path):
    call = b"cbuiltins\ngetattr\n" + owner + text("system") + b"\x86R"
    with pytest.raises(InputError, match=r"calls builtins\.getattr with wrong arguments"):
        read(zipped(tmp_path / "a.pt", checkpoint(call), [FOUR]))


@pytest.mark.parametrize("value", [np.float32(1), Config(), Mode.FAST, None, 3])
def test_in_a_state_dict_such_values_are_named(value, tmp_path):
    tree = b"\x80\x02}(" + text("epoch") + body(value, 2) + text("w") + tensor() + b"u."
    with pytest.raises(InputError, match=r"tensors beside other things \(epoch .*save the one"):
        read(zipped(tmp_path / "a.pt", tree, [FOUR]))


def dicts(name: str, *more: bytes) -> bytes:
    """A key and a dict of what follows."""
    return text(name) + b"}(" + b"".join(more) + b"u"


WEIGHTS = text("w") + tensor()


@pytest.mark.parametrize(
    "tree",
    [
        dicts("checkpoint", dicts("model", WEIGHTS)),
        dicts("a", dicts("b", dicts("model", WEIGHTS))),
        dicts("model", WEIGHTS) + dicts("optimizer", dicts("state", b"K\x00}(" + WEIGHTS + b"u")),
        dicts("net", dicts("params", WEIGHTS)) + dicts("a", dicts("b", dicts("ema", WEIGHTS))),
    ],
)
def test_the_nearest_state_dict_is_taken(tree, tmp_path):
    path = zipped(tmp_path / "a.pt", b"\x80\x02}(" + tree + b"u.", [FOUR])
    assert read(path) == {"w": [1, 2, 3, 4]}


def test_two_as_near_are_not_guessed_at(tmp_path):
    tree = dicts("x", dicts("model", WEIGHTS), dicts("ema", WEIGHTS))
    with pytest.raises(InputError, match=r"2 dicts of tensors.*save the one state dict alone"):
        read(zipped(tmp_path / "a.pt", b"\x80\x02}(" + tree + b"u.", [FOUR]))


def test_dicts_within_dicts_in_every_way_take_no_time(tmp_path):
    double = b"}q\x00"
    for k in range(60):
        double += b"}(" + text("a") + b"h%c" % k + text("b") + b"h%cuq%c" % (k, k + 1)
    within = text("all") + b"(" + double + b"ts" + text("top") + b"h\x3c"
    with pytest.raises(InputError, match="no tensors"):
        read(zipped(tmp_path / "a.pt", b"\x80\x02}" + within + b"s.", []))


# The checksums of a zip file.


def test_every_flipped_bit_of_a_number_is_seen(tmp_path):
    values = np.arange(64, dtype=np.float32)
    writer.write_state_dict(tmp_path / "a.pt", {"w": values})
    good = (tmp_path / "a.pt").read_bytes()
    start = good.index(values.tobytes())
    for bit in range(0, 8 * values.nbytes, 61):
        bad = bytearray(good)
        bad[start + bit // 8] ^= 1 << bit % 8
        (tmp_path / "a.pt").write_bytes(bad)
        with pytest.raises(InputError, match=r"entry .*data/0.* another checksum.*damaged"):
            reader.read_state_dict(tmp_path / "a.pt")


def test_the_list_of_tensors_has_a_checksum_too(tmp_path):
    writer.write_state_dict(tmp_path / "a.pt", {"name_of_it": np.ones(3, np.float32)})
    good = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(good.replace(b"name_of_it", b"name_of_at"))
    with pytest.raises(InputError, match=r"data.pkl.*checksum"):
        reader.read_state_dict(tmp_path / "a.pt")


def test_a_storage_is_summed_up_once(tmp_path, monkeypatch):
    sums = []
    sum_up = zlib.crc32
    monkeypatch.setattr(reader.zlib, "crc32", lambda data: sums.append(1) or sum_up(data))
    tree = b"\x80\x02}(" + b"".join(text(f"w{k}") + tensor() for k in range(9)) + b"u."
    assert len(read(zipped(tmp_path / "a.pt", tree, [FOUR]))) == 9
    assert len(sums) == 2


def read(path: pathlib.Path) -> dict[str, list]:
    return {name: value.tolist() for name, value in reader.read_state_dict(path).items()}
