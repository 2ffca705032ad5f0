"""Places of arrays on a mesh, by path and shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from glide_jax.errors import InputError
from glide_jax.mesh import partition
from glide_jax.networks import initial, interception, zoo
from glide_jax.scale import gradients
from glide_jax.training.config import read_config

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
    model = zoo.glide_model(config.model, jnp.bfloat16)
    params = gradients.noise(initial.shapes(config.model))
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
