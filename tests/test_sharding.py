"""Where arrays lie, and that training does not notice."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from glide_jax import sharding
from glide_jax.errors import InputError

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("shape", "fsdp", "expected"),
    [
        ((3, 3, 192, 384), 8, P(None, None, None, "fsdp")),
        ((3, 3, 1536, 768), 8, P(None, None, "fsdp", None)),
        ((512, 2048), 8, P(None, "fsdp")),
        ((50257, 512), 8, P(None, "fsdp")),  # nothing divides the vocabulary
        ((4, 4, 3, 768), 4, P(None, None, None, "fsdp")),  # height and width never
        ((8, 8, 45, 77), 8, P()),
        ((2048,), 8, P()),  # biases and scales
        ((), 8, P()),
        ((8, 8), 8, P()),  # too small to be worth it
        ((512, 2048), 1, P()),
    ],
)
def test_parameters_are_split_along_their_longest_axis(shape, fsdp, expected):
    assert sharding.partition(shape, fsdp) == expected


def test_a_mesh_that_is_not_all_devices_is_refused():
    devices = jax.device_count()
    for data, fsdp in ((-1, devices + 1), (devices + 1, 1), (-1, 0)):
        with pytest.raises(InputError, match=f"there are {devices} devices"):
            sharding.make_mesh(data, fsdp)
    assert dict(sharding.make_mesh().shape) == {"data": devices, "fsdp": 1}


def test_a_batch_and_a_state_keep_their_values_and_what_is_missing():
    mesh = sharding.make_mesh()
    n = 2 * jax.device_count()
    batch = {"image": np.ones((n, 2), np.float32), "low_res": None}
    placed = sharding.put_batch(batch, mesh)
    np.testing.assert_array_equal(placed["image"], batch["image"])
    assert placed["low_res"] is None
    state = {"step": jnp.int32(3), "kernel": jnp.ones((256, 256))}
    jax.tree.map(np.testing.assert_array_equal, sharding.shard_state(state, mesh), state)


@pytest.mark.slow  # two minutes of compiling
def test_training_on_eight_devices_is_training_on_one():
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.eight_devices"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) == {"glide 8x1", "glide 2x4", "glide 1x8", "clip 2x4"}
    for name, found in report.items():
        assert found["loss"] < 1e-5, (name, found)
        # Wrong gradients, of which sharding.py warns, are off by more than their size.
        assert found["gradient"] < 1e-3, (name, found)
        assert (found["split"] > 10) is ("8x1" not in name), (name, found)
        # Weights are gathered and gradients summed; no activation changes its place.
        assert "all-to-all" not in found["collectives"], (name, found)
        assert "collective-permute" not in found["collectives"], (name, found)
