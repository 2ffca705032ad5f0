"""The proof that gradients on a mesh are those of one device, and that it can fail."""

import math

import numpy as np
import pytest

from glide_jax.scale import gradients
from tests.eight_devices import in_a_process


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 256, 1), (1, 8, 1)),
        ((16, 16, 1), (4, 2, 1)),
        ((2, 64, 4), (2, 2, 2)),
        ((1, 1, 1), (1, 1, 1)),
        ((3, 4, 1), (1, 4, 1)),
        ((64, 1, 1), (8, 1, 1)),
    ],
)
def test_a_reduced_mesh_is_split_along_the_same_axes(shape, expected):
    assert gradients.reduced_mesh(shape, 8) == expected


def test_one_wrong_tensor_is_found_by_name():
    right = {"a": np.ones((4, 4)), "b": {"kernel": np.arange(6.0)}, "idle": np.zeros(3)}
    wrong = right | {"b": {"kernel": right["b"]["kernel"] * 0.5}}
    loss, each = gradients.compare((np.float32(2), wrong), (np.float32(2), right))
    assert loss == 0
    assert [difference.name for difference in each if difference.wrong] == ["b/kernel"]
    nan = right | {"a": np.full((4, 4), math.nan)}
    assert [d.name for d in gradients.compare((1, nan), (1, right))[1] if d.wrong] == ["a"]


def assert_right(report: dict) -> None:
    for mesh, found in report.items():
        assert found["loss"] < 1e-5, (mesh, found)
        assert not found["wrong"], (mesh, found)


@pytest.mark.slow  # half a minute of compiling
def test_gradients_on_a_mesh_of_three_axes_are_those_of_one_device():
    assert_right(in_a_process("quick"))


@pytest.mark.slow  # eighteen programs
def test_every_gradient_on_every_mesh_is_that_of_one_device():
    report = in_a_process("all")
    assert set(report) == {"base_64", "upsample_256_inpaint", "clip_64"}
    for name, meshes in report.items():
        assert set(meshes) == {"8x1x1", "1x8x1", "2x2x2", "2x4x1", "4x1x2", "1x2x4"}, name
        assert_right(meshes)


@pytest.mark.slow
def test_the_check_finds_the_gradients_that_go_wrong_where_nothing_holds_activations():
    report = in_a_process("trap")
    assert report["bare"]["loss"] < 1e-5  # which is why nobody would notice
    assert len(report["bare"]["wrong"]) > 20
    assert report["bare"]["worst"] > 0.1
    assert_right({"2x2x2": report["cured"]})


@pytest.mark.slow
def test_training_on_eight_devices_is_training_on_one():
    report = in_a_process("training")
    assert report["loss"] < 1e-5
    assert report["split"] > 30
    # Weights are gathered and gradients summed; no activation changes its place.
    assert set(report["collectives"]) <= {"all-gather", "all-reduce", "reduce-scatter"}
