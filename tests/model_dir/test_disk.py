"""A model directory's files: whole, typed, readable by others, never trusted."""

import contextlib
import json

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as safetensors

from glide_jax import InputError
from glide_jax.model_dir import disk

TREE = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "b": np.float32([0.1, 7])}
SHAPES = {"a": {"kernel": jax.ShapeDtypeStruct((2, 3), np.float32)}, "b": np.zeros(2)}


def test_weights_come_back_bit_by_bit(tmp_path):
    disk.write_weights(tmp_path / "w.safetensors", TREE)
    again = disk.read_weights(tmp_path / "w.safetensors", SHAPES)
    jax.tree.map(np.testing.assert_array_equal, again, TREE)
    assert set(safetensors.load_file(tmp_path / "w.safetensors")) == {"a/kernel", "b"}


def test_the_same_weights_make_the_same_file(tmp_path):
    for name in ("1", "2"):
        disk.write_weights(tmp_path / name, dict(reversed(TREE.items())) if name == "2" else TREE)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_half_weights_are_rounded_and_read_as_float32(tmp_path):
    disk.write_weights(tmp_path / "w", TREE, "float16")
    again = disk.read_weights(tmp_path / "w", SHAPES)
    assert again["b"].dtype == np.float32
    np.testing.assert_array_equal(again["b"], np.float32(np.float16(TREE["b"])))


@pytest.mark.parametrize("value", [7e4, -7e4])
def test_what_does_not_fit_half_is_not_written(tmp_path, value):
    with pytest.raises(InputError, match="'b' has numbers too large for float16"):
        disk.write_weights(tmp_path / "w", TREE | {"b": np.float32([value])}, "float16")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("dtype", [np.float64, np.int32, ml_dtypes.bfloat16])
def test_other_dtypes_are_read_or_refused_but_never_worse(tmp_path, dtype):
    flat = {"a/kernel": TREE["a"]["kernel"].astype(dtype), "b": np.array([1, 2], dtype)}
    (tmp_path / "w").write_bytes(safetensors.save(flat))
    with contextlib.suppress(InputError):
        assert disk.read_weights(tmp_path / "w", SHAPES)["b"].tolist() == [1, 2]


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_refused_or_read_but_never_worse(tmp_path, seed):
    disk.write_weights(tmp_path / "w", TREE)
    data, rng = bytearray((tmp_path / "w").read_bytes()), np.random.default_rng(seed)
    for _ in range(3):
        data[rng.integers(len(data))] = rng.integers(256)
    (tmp_path / "w").write_bytes(data[: rng.integers(1, len(data) + 1)] if seed % 2 else data)
    with contextlib.suppress(InputError):
        again = disk.read_weights(tmp_path / "w", SHAPES)
        assert again["a"]["kernel"].shape == (2, 3)


def test_a_config_is_json_with_its_format_in_front(tmp_path):
    disk.write_config(tmp_path, {"name": "é"})
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["format", "version", "name"]
    assert disk.read_config(tmp_path)["name"] == "é"


def test_the_files_are_readable_by_others(tiny_model):
    for path in (tiny_model, *tiny_model.iterdir()):
        assert path.stat().st_mode & 0o044 == 0o044, path.name
