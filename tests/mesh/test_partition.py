"""Where arrays lie, and that training does not notice."""

import json
import math
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from glide_jax.errors import InputError
from glide_jax.mesh import partition
from glide_jax.model_dir import schema
from glide_jax.networks import initial, interception, zoo
from glide_jax.scale import gradients, topology
from glide_jax.training.config import read_config

ROOT = pathlib.Path(__file__).parents[2]
RES, BLOCK = "params/unet/output_3_res", "opt_state/0/mu/text/block_2"


def sizes(fsdp=1, tensor=1):
    return {"data": 1, "fsdp": fsdp, "tensor": tensor}


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
    assert partition.partition("kernel", shape, sizes(fsdp)) == expected


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        (f"{RES}/in_conv/kernel", (3, 3, 256, 128), P(None, None, "fsdp", "tensor")),
        (f"{RES}/in_conv/bias", (128,), P("tensor")),
        (f"{RES}/out_norm/scale", (128,), P("tensor")),
        (f"{RES}/out_conv/kernel", (3, 3, 128, 256), P(None, None, "tensor", "fsdp")),
        (f"{RES}/out_conv/bias", (256,), P()),  # added after the sum
        (f"{RES}/in_norm/scale", (256,), P()),
        (f"{RES}/emb/kernel", (512, 256), P("fsdp", None)),
        ("unet/output_2_up/in_conv/kernel", (3, 3, 256, 128), P(None, None, "fsdp", "tensor")),
        ("unet/output_2_up/kernel", (3, 3, 256, 128), P(None, None, "fsdp", None)),
        ("unet/out_conv/kernel", (3, 3, 512, 6), P(None, None, "fsdp", None)),
        ("unet/middle_0_attn/qkv/kernel", (256, 768), P("fsdp", "tensor")),
        ("unet/middle_0_attn/proj/kernel", (256, 256), P("tensor", "fsdp")),
        ("keys_values/middle_0/kernel", (256, 512), P("fsdp", "tensor")),
        (f"{BLOCK}/fc_in/kernel", (256, 1024), P("fsdp", "tensor")),
        (f"{BLOCK}/fc_in/bias", (1024,), P("tensor")),
        (f"{BLOCK}/fc_out/kernel", (1024, 256), P("tensor", "fsdp")),
        (f"{BLOCK}/fc_out/bias", (256,), P()),
        ("model/image/block_0/q/kernel", (256, 256), P("fsdp", "tensor")),
        (f"{BLOCK}/fc_in/kernel", (1024,), P()),  # Adafactor's row of it
        ("unet/middle_0_attn/qkv/kernel", (256, 513), P("fsdp", None)),  # does not divide
    ],
)
def test_a_layer_is_split_by_its_path(path, shape, expected):
    assert partition.partition(path, shape, sizes(4, 2)) == expected


def test_a_mesh_that_is_not_all_devices_is_refused():
    devices = jax.device_count()
    for data, fsdp in ((-1, devices + 1), (devices + 1, 1), (-1, 0)):
        with pytest.raises(InputError, match=f"there are {devices} devices"):
            partition.make_mesh(data, fsdp)
    with pytest.raises(InputError, match="tensor 3"):
        partition.mesh_shape(8, tensor=3)
    with pytest.raises(InputError, match=r"mesh\.slices is 2"):
        partition.make_mesh(slices=2, devices=jax.devices()[:1])
    assert dict(partition.make_mesh().shape) == {"data": devices, "fsdp": 1, "tensor": 1}
    assert partition.mesh_shape(512, fsdp=64, tensor=4) == (2, 64, 4)


def test_a_batch_and_a_state_keep_their_values_and_what_is_missing():
    mesh = partition.make_mesh()
    n = 2 * jax.device_count()
    batch = {"image": np.ones((n, 2), np.float32), "low_res": None}
    placed = partition.put_batch(batch, mesh)
    np.testing.assert_array_equal(placed["image"], batch["image"])
    assert placed["low_res"] is None
    assert partition.local_rows(mesh, n) == list(range(n))  # one process holds them all
    state = {"step": jnp.int32(3), "kernel": jnp.ones((256, 256))}
    jax.tree.map(np.testing.assert_array_equal, partition.shard_state(state, mesh), state)


def test_functions_around_layers_see_every_parameter_and_output_and_change_nothing_else():
    config = gradients.reduced(read_config("base_64"))
    model = zoo.glide_model(
        schema.parse_section(zoo.ModelConfig, config.model.to_dict(), ""), jnp.bfloat16
    )
    params = gradients.noise(initial.shapes(zoo.ModelConfig(**config.model.to_dict())))
    read, given = {}, {}

    def at_use(path, p, dtype):
        read[path] = dtype
        return p

    def at_output(path, x):
        given[path] = x.shape
        return x

    apply = interception.intercepted(model.apply, at_use, at_output)
    tokens, mask = jnp.zeros((2, 6), jnp.int32), jnp.ones((2, 6), bool)
    logits = lambda f, params: f({"params": params}, tokens, mask, method="token_logits")
    found, wanted = jax.jit(lambda p: (logits(apply, p), logits(model.apply, p)))(params)
    np.testing.assert_array_equal(found, wanted)
    leaves = jax.tree_util.tree_leaves_with_path({"text": params["text"]})
    names = {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves}
    assert set(read) == names
    assert read["text/block_0/qkv/kernel"] == jnp.bfloat16  # what the layer would cast it to
    assert read["text/block_0/qkv/bias"] == read["text/block_0/ln_1/scale"] == jnp.float32
    assert read["text/token_embedding"] == jnp.float32
    assert given["text/block_0/qkv"] == (2, 6, 96)
    assert given["text/block_0"] == given["text/block_0/ln_1"] == (2, 6, 32)


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


def test_collectives_are_counted_from_the_text_of_a_program():
    text = """
%all-reduce-scatter.1 (input: f32[64]) -> f32[16] {
  %all-reduce.9 = f32[64]{0} all-reduce(%input), replica_groups=mesh['x'=4,'y'=2] {'x'}
}
ENTRY %main {
  %a = bf16[8,16]{1,0} all-gather(%p), replica_groups=[2,4]<=[8], dimensions={0}
  %b = (bf16[2,16]{1,0}, bf16[8,16]{1,0}) all-gather-start(%p), replica_groups={{0,1,2,3}}
  %c = bf16[8,16]{1,0} all-gather-done(%b)
  %d = (f32[]{:T(128)}, f32[3]{0}) all-reduce(%x, %y), replica_groups={{0,1},{2,3}}
  %e = f32[5]{0} collective-permute(%z), source_target_pairs={{0,1},{1,0}}
  %f = f32[8]{0} add(%all-reduce.9, %d), metadata={op_name="all-reduce(x)"}
}
"""
    assert topology.collectives(text) == {
        "reduce-scatter": (1, 256, 192.0),
        "all-gather": (2, 512, 384.0),
        "all-reduce": (1, 16, 16.0),
        "collective-permute": (1, 20, 20.0),
    }


def eight_devices(part: str) -> dict:
    command = [sys.executable, "-m", "tests.eight_devices", part]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_right(report: dict) -> None:
    for mesh, found in report.items():
        assert found["loss"] < 1e-5, (mesh, found)
        assert not found["wrong"], (mesh, found)


@pytest.mark.slow  # half a minute of compiling
def test_gradients_on_a_mesh_of_three_axes_are_those_of_one_device():
    assert_right(eight_devices("quick"))


@pytest.mark.slow  # eighteen programs
def test_every_gradient_on_every_mesh_is_that_of_one_device():
    report = eight_devices("all")
    assert set(report) == {"base_64", "upsample_256_inpaint", "clip_64"}
    for name, meshes in report.items():
        assert set(meshes) == {"8x1x1", "1x8x1", "2x2x2", "2x4x1", "4x1x2", "1x2x4"}, name
        assert_right(meshes)


@pytest.mark.slow
def test_the_check_finds_the_gradients_that_go_wrong_where_nothing_holds_activations():
    report = eight_devices("trap")
    assert report["bare"]["loss"] < 1e-5  # which is why nobody would notice
    assert len(report["bare"]["wrong"]) > 20
    assert report["bare"]["worst"] > 0.1
    assert_right({"2x2x2": report["cured"]})


@pytest.mark.slow
def test_training_on_eight_devices_is_training_on_one():
    report = eight_devices("training")
    assert report["loss"] < 1e-5
    assert report["split"] > 30
    # Weights are gathered and gradients summed; no activation changes its place.
    assert set(report["collectives"]) <= {"all-gather", "all-reduce", "reduce-scatter"}


@pytest.mark.slow
def test_a_data_parallel_sampler_sends_nothing():
    report = eight_devices("sampler")
    assert report["8x1x1"] == []
    assert report["1x8x1"] == ["all-gather"]
