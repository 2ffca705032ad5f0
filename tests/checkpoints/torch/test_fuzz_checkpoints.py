"""Seeded damage to PyTorch checkpoints: a state dict or one sentence, never worse."""

import io
import json
import pathlib
import random
import struct
import zipfile

import numpy as np
import pytest
from safetensors import numpy as safetensors

from glide_jax.checkpoints.torch import reader
from glide_jax.errors import InputError
from glide_jax.model_dir import disk
from tests import fuzz
from tests.checkpoints.torch import test_trainers
from tests.checkpoints.torch.test_reader import FIXTURES, FOUR

FILES = ("zip", "zip4", "legacy", "legacy4", "nested", "module", "script")


def tries(count: int, seed: int, path: pathlib.Path) -> int:
    """Reads damaged files, and files whose damaged pickles have right checksums."""
    before, tried = fuzz.peak_bytes(), 0
    for name in FILES:
        good = (FIXTURES / f"{name}.pt").read_bytes()
        for bad in fuzz.mutations(good, count=count, seed=seed):
            path.write_bytes(bad)
            fuzz.answers(lambda: copied(path), allowed=(InputError,))
            tried += 1
        for k in range(count if good.startswith(b"PK") else 0):
            path.write_bytes(with_damaged_pickle(good, random.Random(f"{seed} {k}")))
            fuzz.answers(lambda: copied(path), allowed=(InputError,))
            tried += 1
    for value in test_trainers.BESIDE.values():
        tree = test_trainers.checkpoint(test_trainers.body(value, 2))
        for bad in fuzz.mutations(tree, count=count // 10, seed=seed):
            path.write_bytes(archive({"archive/data.pkl": bad, "archive/data/0": FOUR}))
            fuzz.answers(lambda: copied(path), allowed=(InputError,))
            tried += 1
    assert fuzz.peak_bytes() - before < 1 << 30
    return tried


def copied(path: pathlib.Path) -> None:
    for value in reader.read_state_dict(path, scripts=True).values():
        value.copy()


def archive(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return out.getvalue()


def with_damaged_pickle(good: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(good)) as file:
        entries = {info.filename: file.read(info) for info in file.infolist()}
    name = next(name for name in entries if name.endswith("data.pkl"))
    return archive(entries | {name: fuzz.mutate(entries[name], rng)})


def safetensors_tries(count: int, seed: int, path: pathlib.Path) -> int:
    tree = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "b": np.ones(2, "f4")}
    good = safetensors.save({"a/kernel": tree["a"]["kernel"], "b": tree["b"]})
    size = struct.unpack("<Q", good[:8])[0]
    before = fuzz.peak_bytes()
    for k, bad in enumerate(fuzz.mutations(good, count=count, seed=seed)):
        if k % 2:  # a damaged head of the right length, which the file's own length does not stop
            head = fuzz.mutate(good[8 : 8 + size], random.Random(f"{seed} {k}"))
            bad = struct.pack("<Q", len(head)) + head + good[8 + size :]
        path.write_bytes(bad)
        fuzz.answers(lambda: disk.read_weights(path, tree), allowed=(InputError,))
    assert fuzz.peak_bytes() - before < 1 << 30
    return count


def test_damaged_checkpoints_are_refused_or_read(tmp_path):
    assert tries(20, 1, tmp_path / "a.pt") > 200


def test_damaged_weights_are_refused_or_read(tmp_path):
    safetensors_tries(300, 1, tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "C64", "X" * 9999, 3, None]
)
@pytest.mark.parametrize("shape", [[2], [2**62], [0], [1] * 999, [2**64], [-1], [[2]], "2"])
def test_odd_types_and_shapes_of_weights_are_one_sentence(dtype, shape, tmp_path):
    head = json.dumps({"b": {"dtype": dtype, "shape": shape, "data_offsets": [0, 8]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(8))
    message = fuzz.answers(
        lambda: disk.read_weights(path, {"b": np.zeros(2, np.float32)}), allowed=(InputError,),
        longest=700,
    )  # fmt: skip
    assert message
    assert message.isprintable()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_many_damaged_checkpoints_and_weights(tmp_path):
    tried = tries(250, 2, tmp_path / "a.pt")
    tried += safetensors_tries(3000, 2, tmp_path / "w.safetensors")
    assert tried > 5000
