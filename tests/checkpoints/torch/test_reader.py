import contextlib
import io
import os
import pathlib
import pickle
import struct
import sys
import time
import tracemalloc
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

from glide_jax.checkpoints.torch import pickles, reader, writer
from glide_jax.errors import InputError

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        reader.read_state_dict(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400
    return message


def zipped(path, tree: bytes, storages=(), root="archive", compression=zipfile.ZIP_STORED, **more):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", tree)
        for key, data in enumerate(storages):
            archive.writestr(f"{root}/data/{key}", data)
        for name, data in more.items():
            archive.writestr(f"{root}/{name.replace('__', '.')}", data)
    return path


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(kind=b"FloatStorage", key="0", count=4, tag="storage") -> bytes:
    return b"(%sctorch\n%s\n%s%s%stQ" % (text(tag), kind, text(key), text("cpu"), number(count))


def tensor(offset=0, shape=(4,), strides=(1,), place=None) -> bytes:
    view = number(offset) + numbers(*shape) + numbers(*strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(%s%s\x89NtR" % (place or storage(), view)


def state(value: bytes, name="w") -> bytes:
    return b"\x80\x02}(%s%su." % (text(name), value)


FOUR = struct.pack("<4f", 1, 2, 3, 4)


# What PyTorch wrote.


def expected(name="expected"):
    return np.load(FIXTURES / f"{name}.npz")


@pytest.mark.parametrize("name", ["zip", "zip4", "legacy", "legacy4", "nested"])
def test_files_by_pytorch_read_as_pytorch_reads_them(name):
    state, values = reader.read_state_dict(FIXTURES / f"{name}.pt"), expected()
    assert list(state) == values.files
    for key, value in state.items():
        assert value.shape == values[key].shape
        np.testing.assert_array_equal(value.astype(values[key].dtype), values[key], key)
    types = {key: value.dtype for key, value in state.items()}
    assert types["half"] == np.float16
    assert types["brain"] == ml_dtypes.bfloat16
    assert types["double"] == np.float64
    assert types["scalar"] == np.int64
    assert types["flags"] == np.bool_
    assert [types[f"int{n}"] for n in (8, 16, 32)] == [np.int8, np.int16, np.int32]


def test_the_state_dict_of_a_module_reads():
    state, values = reader.read_state_dict(FIXTURES / "module.pt"), expected("expected_module")
    assert list(state) == values.files == ["0.weight", "0.bias", "1.weight", "1.bias"]
    for key, value in state.items():
        np.testing.assert_array_equal(value, values[key])


def test_a_program_is_read_for_its_tensors_if_asked_for():
    assert "TorchScript" in refused(FIXTURES / "script.pt")
    state = reader.read_state_dict(FIXTURES / "script.pt", scripts=True)
    values = expected("expected_module")
    assert list(state) == values.files
    for key, value in state.items():
        np.testing.assert_array_equal(value, values[key])
    assert list(reader.read_state_dict(FIXTURES / "module.pt", scripts=True)) == values.files


CLASS = b"c__torch__.net\nNet\n)\x81"
LEAF = b"}" + text("w") + tensor() + b"sb"
PROGRAMS = {
    "another class": (b"cos\nsystem\n)\x81.", "os.system"),
    "a class that is none": (text("__torch__.net") + b")\x81.", "makes a str"),
    "with arguments": (b"c__torch__.net\nNet\nK\x01\x85\x81.", "makes __torch__.net.Net"),
    "called": (b"c__torch__.net\nNet\n)R.", "calls __torch__.net.Net"),
    "a module twice": (
        CLASS + b"}(" + text("a") + CLASS + LEAF + b"q\x00" + text("b") + b"h\x00ub.", "twice",
    ),
    "a name without end": (CLASS + b"}" + text("x" * 2000) + CLASS + LEAF + b"sb.", "too deep"),
    "no tensors": (CLASS + b"}b.", "no tensors"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_programs_are_refused(tmp_path, name):
    tree, message = PROGRAMS[name]
    path = zipped(tmp_path / "a.pt", b"\x80\x02" + tree, [FOUR], constants__pkl=b"")
    with pytest.raises(InputError, match=message):
        reader.read_state_dict(path, scripts=True)
    assert "TorchScript" in refused(path)


def test_a_pickled_module_is_refused_by_name():
    assert "torch.nn.modules.container.Sequential" in refused(FIXTURES / "whole_module.pt")


def test_arrays_lie_in_the_file_and_share_what_tensors_shared():
    state = reader.read_state_dict(FIXTURES / "zip.pt")
    assert not any(value.flags.writeable for value in state.values() if value.size)
    assert np.shares_memory(state["base"], state["transposed"])
    assert np.shares_memory(state["base"], state["window"])


def test_reading_does_not_take_the_memory_of_the_file(tmp_path):
    writer.write_state_dict(tmp_path / "w.pt", {"w": np.ones((4 << 20,), np.float32)})
    tracemalloc.start()
    state = reader.read_state_dict(tmp_path / "w.pt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert state["w"].sum() == 4 << 20


# What we write.


@pytest.mark.parametrize("dtype", pickles.STORAGES.values(), ids=str)
def test_what_is_written_reads_back(tmp_path, dtype):
    state = {
        "matrix": np.arange(6).reshape(2, 3).astype(dtype),
        "transposed": np.arange(6).reshape(2, 3).astype(dtype).T,
        "scalar": np.ones((), dtype),
        "empty": np.zeros((0, 4), dtype),
        "näme": np.zeros((2, 0, 3), dtype)[:, :, ::-1],
        "big_endian": np.arange(3).astype(dtype),
    }
    if dtype.kind != "V":
        state["big_endian"] = state["big_endian"].astype(dtype.newbyteorder(">"))
    writer.write_state_dict(tmp_path / "w.pt", state)
    back = reader.read_state_dict(tmp_path / "w.pt")
    assert list(back) == list(state)
    for name, value in state.items():
        assert back[name].dtype == dtype
        np.testing.assert_array_equal(back[name].astype(np.float64), value.astype(np.float64))


def test_writing_is_aligned_and_the_same_each_time(tmp_path):
    state = {f"w{i}": np.full((i,), i, np.float32) for i in range(1, 20)}
    writer.write_state_dict(tmp_path / "a.pt", state)
    writer.write_state_dict(tmp_path / "b.pt", state)
    data = (tmp_path / "a.pt").read_bytes()
    assert data == (tmp_path / "b.pt").read_bytes()
    assert data.find(state["w7"].tobytes()) % 64 == 0
    assert data.find(state["w11"].tobytes()) % 64 == 0
    assert all(
        value.ctypes.data % 64 == 0 for value in reader.read_state_dict(tmp_path / "a.pt").values()
    )


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "no arrays"),
        ({3: np.ones(2)}, "must be text"),
        ({"\ud800": np.ones(2)}, "valid Unicode"),
        ({"w": np.ones(2, np.complex64)}, "complex64"),
        ({"w": np.array(["a"])}, "no storage for"),
        ({"w": np.array([None])}, "no storage for"),
    ],
)
def test_what_pytorch_cannot_hold_is_not_written(tmp_path, state, message):
    with pytest.raises(InputError, match=message):
        writer.write_state_dict(tmp_path / "w.pt", state)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        writer.write_state_dict(tmp_path / "file" / "w.pt", {"w": np.ones(2)})


@pytest.mark.slow
def test_pytorch_reads_what_we_write(tmp_path):
    torch = pytest.importorskip("torch")
    state = dict(reader.read_state_dict(FIXTURES / "zip.pt"))
    writer.write_state_dict(tmp_path / "w.pt", state)
    for options in ({}, {"mmap": True}):
        back = torch.load(tmp_path / "w.pt", weights_only=True, **options)
        wanted = torch.load(FIXTURES / "zip.pt", weights_only=True)
        assert type(back) is OrderedDict
        assert list(back) == list(wanted)
        for name, value in wanted.items():
            assert back[name].dtype == value.dtype
            assert torch.equal(back[name], value)


# What is no checkpoint.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><Error>', "XML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b'{"error": 3}', "JSON"),
        (struct.pack("<Q", 2) + b"{}", "safetensors"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x93NUMPY\x01", "NumPy"),
        (bytes(257) + b"ustar", "tar archive"),
        (pickle.dumps({"a": 1}), "a pickle, but not"),
        (b"PK\x03\x04", "was probably cut"),
        (b"abc\n\x1b[31m", r"not a PyTorch checkpoint \(it starts with abc\\n\\x1b"),
        (bytes(100), "not a PyTorch checkpoint"),
    ],
)
def test_other_things_are_named(tmp_path, data, message):
    path = tmp_path / "base.pt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        reader.read_state_dict(path)
    refused(path)


def test_missing_files_and_folders_are_named(tmp_path):
    assert "is a folder" in refused(tmp_path)
    assert "does not exist" in refused(tmp_path / "none.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    assert "is no file" in refused(tmp_path / "pipe.pt")
    (tmp_path / "file").write_text("")
    assert "cannot be read" in refused(tmp_path / "file" / "base.pt")


@pytest.mark.parametrize("name", ["zip", "legacy", "legacy4"])
def test_every_cut_is_refused(tmp_path, name):
    whole, path = (FIXTURES / f"{name}.pt").read_bytes(), tmp_path / "cut.pt"
    for size in [*range(0, len(whole) - 1, 37), len(whole) - 1]:
        path.write_bytes(whole[:size])
        refused(path)


@pytest.mark.parametrize("name", ["zip", "legacy", "zip4"])
def test_damage_is_refused_or_read_but_never_worse(tmp_path, name):
    whole, path = (FIXTURES / f"{name}.pt").read_bytes(), tmp_path / "damaged.pt"
    random = np.random.default_rng(0)
    for _ in range(400):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            for value in reader.read_state_dict(path).values():
                value.copy()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"readme": b"x"}, "not one that PyTorch's"),
        ({"data.pkl": b"x"}, "not one that PyTorch's"),
        ({"a/data.pkl": b"x", "b/data.pkl": b"x"}, "not one that PyTorch's"),
        ({"a/data.pkl": b"x", "a/constants.pkl": b"x"}, "TorchScript"),
        ({"a/data.pkl": b"x", "a/byteorder": b"big"}, "big-endian"),
    ],
)
def test_other_zip_files_are_named(tmp_path, entries, message):
    path = tmp_path / "other.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert message in refused(path)


def test_compressed_entries_are_refused_unread(tmp_path):
    bomb = zipped(
        tmp_path / "a.pt", state(tensor()), [bytes(1 << 24)], compression=zipfile.ZIP_DEFLATED
    )
    assert "compressed" in refused(bomb)


@pytest.mark.parametrize("field", [20, 24, 42])
def test_a_directory_that_claims_too_much_is_refused(tmp_path, field):
    path = zipped(tmp_path / "a.pt", state(tensor()), [FOUR])
    data = bytearray(path.read_bytes())
    entry = data.rfind(b"PK\x01\x02")
    data[entry + field : entry + field + 4] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(data)
    refused(path)


@pytest.mark.parametrize("content", ["tensor", "list", "empty", "two", "mixed", "numbered"])
def test_other_trees_are_named(tmp_path, content):
    one = tensor()
    tree, message = {
        "tensor": (b"\x80\x02" + one + b".", "holds a Tensor"),
        "list": (b"\x80\x02].", "holds a list"),
        "empty": (b"\x80\x02}.", "holds no tensors (nothing)"),
        "two": (
            state(b"}(%s%su%s}(%s%su" % (text("a"), one, text("ema"), text("a"), one), "model"),
            "2 dicts of tensors (model (dict), ema (dict))",
        ),
        "mixed": (state(one + text("epoch") + b"K\x03"), "beside other things"),
        "numbered": (b"\x80\x02}(K\x00" + one + b"u.", "beside other things"),
    }[content]
    assert message in refused(zipped(tmp_path / "a.pt", tree, [FOUR]))


# Hostile files. The canary is a file that any of them would make if it were run.


class Runs:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def hostile(canary: str) -> dict[str, tuple[bytes, str]]:
    touch = f"open({canary!r}, 'w')"
    call = f"touch {canary}"
    call_os = text(call) + b"\x85R"
    return {
        "os.system": (pickle.dumps(Runs(os.system, call), 2), "system"),
        "eval": (pickle.dumps(Runs(eval, touch), 4), "eval"),
        "builtins": (state(b"cbuiltins\nexec\n" + text(touch) + b"\x85R"), "builtins.exec"),
        "memo": (
            state(b"\x8c\x02osq\x00\x8c\x06systemq\x01]h\x00h\x01\x93" + call_os),
            "os.system",
        ),
        "stack global": (state(text("os") + text("system") + b"\x93" + call_os), "os.system"),
        "stack global of no names": (state(b"K\x01K\x02\x93"), "malformed"),
        "dotted": (state(b"ccollections\nOrderedDict.__init__\n)R"), "OrderedDict.__init__"),
        "torch.hub": (state(b"ctorch.hub\nload\n)R"), "torch.hub.load"),
        "torch.load": (state(b"ctorch\nload\n)R"), "torch.load"),
        "control characters": (state(b"cos\n\x1b[31mred\n)R"), r"os.\x1b[31mred"),
        "long name": (state(b"cos\n" + b"x" * 100_000 + b"\n)R"), "os.xxx"),
        "instance": (b"\x80\x02(ios\nsystem\n.", "opcode"),
        "object": (b"\x80\x02(cos\nsystem\no.", "os.system"),
        "new object": (
            b"\x80\x02ccollections\nOrderedDict\n)\x81.",
            "holds a collections.OrderedDict",
        ),
        "extension": (b"\x80\x02\x82\x01.", "opcode"),
        "calls a string": (state(text("os.system") + call_os), "calls a str"),
        "calls a storage": (state(b"ctorch\nFloatStorage\nK\x7f\x85R"), "torch.FloatStorage"),
        "calls with a list": (state(b"ccollections\nOrderedDict\n]R"), "OrderedDict"),
        "calls with arguments": (
            state(b"ccollections\nOrderedDict\nK\x01\x85R"),
            "wrong arguments",
        ),
        "tensor of nothing": (state(b"ctorch._utils\n_rebuild_tensor_v2\n)R"), "wrong arguments"),
        "parameter": (state(b"ctorch._utils\n_rebuild_parameter\n(K\x01\x88NtR"), "wrong arg"),
        "state of a tensor": (state(tensor() + b"}" + text("__class__") + b"K\x01sb"), "state of"),
        "state of a global": (state(b"ctorch\nFloatStorage\n}b"), "state of"),
        "state is no dict": (state(b"}K\x01b"), "state of"),
        "reference to text": (state(text("storage") + b"Q"), "names a storage"),
        "reference as a line": (state(b"Pstorage\n"), "opcode"),
        "reference tag": (state(storage(tag="module")), "names a storage"),
        "reference too long": (state(b"(" + b"N" * 9 + b"tQ"), "names a storage"),
        "reference type": (state(b"(%sNNNNtQ" % text("storage")), "names a storage"),
        "storage type": (state(storage(kind=b"QInt8Storage")), "torch.QInt8Storage"),
        "storage call": (
            state(
                b"(%sccollections\nOrderedDict\n%s%sK\x04tQ"
                % ((text("storage"),) + (text("0"),) * 2)
            ),
            "names a storage",
        ),
        "protocol": (b"\x80\x09}.", "malformed"),
        "stack": (b"\x80\x02R.", "malformed"),
        "marks": (b"\x80\x02((.", "malformed"),
        "mark in a tuple": (b"\x80\x02(\x85.", "malformed"),
        "memo of a mark": (b"\x80\x02(q\x00h\x00.", "malformed"),
        "memo of nothing": (b"\x80\x02h\x05.", "malformed"),
        "two values": (b"\x80\x02}}.", "malformed"),
        "odd items": (b"\x80\x02}(K\x01u.", "malformed"),
        "key": (b"\x80\x02}()K\x01u.", "key of type tuple"),
        "huge key": (b"\x80\x02}(" + number(1 << 90) + b"K\x01u.", "key of type int"),
        "no utf-8": (b"\x80\x02X\x01\x00\x00\x00\xff.", "malformed"),
        "no stop": (b"\x80\x02}", "was cut"),
        "text longer than the file": (b"\x80\x02X\xff\xff\xff\xff.", "was cut"),
        "frame": (b"\x80\x04\x95\xff", "was cut"),
    }


@pytest.mark.parametrize("name", hostile("x"))
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_hostile_pickles_are_refused_and_never_run(tmp_path, name, legacy):
    canary = tmp_path / "canary"
    tree, message = hostile(str(canary))[name]
    path = tmp_path / "a.pt"
    if legacy:
        about = {"protocol_version": 1001, "little_endian": True}
        head = [pickle.dumps(item, 2) for item in (reader._LEGACY_MAGIC, 1001, about)]
        path.write_bytes(b"".join(head) + tree)
    else:
        zipped(path, tree, [FOUR])
    modules = set(sys.modules)
    assert message in refused(path)
    assert not canary.exists()
    assert set(sys.modules) == modules
    assert list(tmp_path.iterdir()) == [path]


def bombs() -> dict[str, bytes]:
    double = b"".join(b"q%ch%ch%c\x86" % (i, i, i) for i in range(60))
    shape = b"(" + b"K\x01" * 20_000 + b"tq\x00"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\nq\x01" + storage() + b"q\x02"
    again = b"h\x01(h\x02K\x00h\x00h\x00\x89NtR"
    return {
        "doubling as a key": b"\x80\x02}(K\x01" + double + b"K\x01u.",
        "doubling as a name": b"\x80\x02K\x01" + double + b"q\xf0h\xf0\x93.",
        "depth": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "depth of tuples": b"\x80\x02)" + b"\x85" * 300_000 + b".",
        "a loop": b"\x80\x02]q\x00h\x00a.",
        "marks": b"\x80\x02" + b"(" * 300_000 + b"t" * 300_000 + b".",
        "memo index": b"\x80\x02}r\xff\xff\xff\xff" + b".",
        "many axes": b"\x80\x02" + shape + rebuild + again * 10_000 + b".",
        "many arguments": b"\x80\x02" + shape + rebuild + b"h\x01h\x00R" * 10_000 + b".",
        "colliding keys": b"\x80\x02}("
        + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(1, 90_000))
        + b"u.",
        "length": b"\x80\x02" + b")" * (3 << 20) + b".",
    }


@pytest.mark.parametrize("name", bombs())
def test_bombs_are_refused_quickly(tmp_path, name):
    path = zipped(tmp_path / "a.pt", bombs()[name], [FOUR])
    started = time.process_time()
    refused(path)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "view",
    [
        {"shape": (5,)},
        {"offset": 1},
        {"offset": -1},
        {"offset": 4, "shape": (1,)},
        {"shape": (-4,)},
        {"shape": (-2, -2), "strides": (2, 1)},
        {"strides": (-1,), "offset": 3},
        {"strides": (2,)},
        {"strides": (1 << 62,)},
        {"shape": (1 << 62, 4), "strides": (0, 1)},
        {"shape": (1 << 40,), "strides": (0,)},
        {"shape": (1 << 63,)},
        {"shape": (1 << 32, 1 << 32), "strides": (0, 0)},
        {"shape": (0, 1 << 62), "strides": (1, 1)},
        {"shape": (0,), "offset": -1},
        {"shape": (2, 2), "strides": (1,)},
        {"shape": (1,) * 40, "strides": (1,) * 40},
        {"place": storage(count=1 << 60), "shape": (1 << 60,)},
        {"place": storage(count=3)},
        {"place": storage(count=-1)},
        {"place": storage(b"DoubleStorage")},
        {"place": storage(key="1")},
        {"place": storage(key="../data.pkl")},
    ],
    ids=str,
)
def test_tensors_beyond_their_storage_are_refused_in_little_memory(tmp_path, view):
    path = zipped(tmp_path / "a.pt", state(tensor(**view)), [FOUR])
    tracemalloc.start()
    refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"offset": 1, "shape": (2,), "strides": (2,)}, [2, 4]),
        ({"shape": (2, 2), "strides": (1, 2)}, [[1, 3], [2, 4]]),
        ({"shape": (), "strides": (), "offset": 3}, 4),
        ({"shape": (1, 4), "strides": (1 << 70, 1)}, [[1, 2, 3, 4]]),
        ({"shape": (3, 2), "strides": (1, 1)}, None),
        ({"shape": (2, 2), "strides": (1, 1)}, [[1, 2], [2, 3]]),
        ({"shape": (0, 3), "strides": (3, 1)}, np.zeros((0, 3))),
    ],
)
def test_views_within_their_storage_read(tmp_path, view, expected):
    path = zipped(tmp_path / "a.pt", state(tensor(**view)), [FOUR])
    if expected is None:  # more elements than are stored
        refused(path)
    else:
        np.testing.assert_array_equal(reader.read_state_dict(path)["w"], expected)


def legacy(tree: bytes, keys: list, *storages: bytes) -> bytes:
    file = io.BytesIO()
    about = {"protocol_version": 1001, "little_endian": True}
    for item in (reader._LEGACY_MAGIC, 1001, about):
        pickle.dump(item, file, 2)
    file.write(tree)
    pickle.dump(keys, file, 2)
    return file.getvalue() + b"".join(storages)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (legacy(state(tensor()), ["0"], struct.pack("<Q", 2**61), FOUR), "cut"),
        (legacy(state(tensor()), ["0"], struct.pack("<Q", 2**64 - 1), FOUR), "cut"),
        (legacy(state(tensor()), [], FOUR), "lacks the storage"),
        (legacy(state(tensor()), ["0", "1"], struct.pack("<Q", 4), FOUR), "no tensor uses"),
        (legacy(state(tensor()), [3], FOUR), "list of storages"),
        (legacy(state(tensor()), {}, FOUR), "list of storages"),
        (legacy(state(tensor()), ["0"], struct.pack("<Q", 3), FOUR), "reaches outside"),
        (legacy(state(tensor()), ["0"]).replace(b"little_endian", b"little_indian"), "byte order"),
    ],
)
def test_legacy_files_that_lie_are_refused(tmp_path, data, message):
    path = tmp_path / "a.pt"
    path.write_bytes(data)
    assert message in refused(path)


def test_a_legacy_storage_of_two_types_stays_in_its_bytes(tmp_path):
    wide = tensor(place=storage(b"DoubleStorage"))
    path = tmp_path / "a.pt"
    path.write_bytes(legacy(state(wide + text("v") + tensor()), ["0"], struct.pack("<Q", 4), FOUR))
    refused(path)
