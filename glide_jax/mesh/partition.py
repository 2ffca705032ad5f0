"""A mesh of three axes, and rules from a parameter's path to its partition.

`data` and `fsdp` split the batch; `fsdp` also splits the stored parameters, averages and moments;
`tensor` splits the work inside a layer. Nothing inside a model names an axis: parameters pass
`at_use` where a layer reads them, and activations `at_output` where a layer returns them.

Both are needed for right results, not only for speed. If XLA's CPU backend propagates a batch over
data x fsdp and kernels over fsdp x tensor by itself, it silently computes wrong gradients (losses
stay right). So `glide-jax shard --check` compares every gradient with that of one device.
"""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from glide_jax.errors import InputError
from glide_jax.trees import path_of

T = TypeVar("T")

AXES = ("data", "fsdp", "tensor")
BATCH = ("data", "fsdp")  # every device of `tensor` holds the same rows of the batch
MIN_SHARD_SIZE = 2**14  # below 64 KiB a parameter costs more to gather than to keep everywhere

# Megatron's pairs (Shoeybi et al., 2019, section 3): the first layer of a pair gives each device
# some of the outputs (whole heads; the MLP's units; a residual block's inner channels, whose norm
# has whole groups there), the second sums over them, so that a pair costs one sum. Layers in
# neither list are computed alike by every device of `tensor`: `emb`, whose halves are scale and
# shift, the narrow ends of the UNet, 1 x 1 skips, embedding tables.
_COLUMNS = re.compile(
    r"(^|/)(\w+_(res|up)/(in_conv|out_norm)|\w+_attn/qkv|keys_values/\w+"
    r"|block_\d+/(qkv|q|k|v|fc_in))$"
)
_ROWS = re.compile(r"(^|/)(\w+_(res|up)/out_conv|\w+_attn/proj|block_\d+/(proj|fc_out))$")


def make_mesh(
    data: int = -1,
    fsdp: int = 1,
    tensor: int = 1,
    slices: int = 1,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """All devices, as data x fsdp x tensor.

    Axes are Auto: the compiler propagates shardings through convolutions and reshapes. JAX's
    default is Explicit, under which merging the heads of a sharded batch is an error.

    Args:
        data: number of devices that split the batch alone; -1 takes all that the others leave.
        fsdp: number of devices that one copy of the parameters is spread over.
        tensor: number of devices that the work inside a layer is spread over.
        slices: number of slices of a TPU pod, joined by the slower network. They are the
            outermost part of `data`, so that only the sum of gradients goes over that network.
        devices: this machine's devices (None), or those of a described topology.

    Raises:
        InputError: the axes do not multiply to the number of devices, or the number of slices
            is wrong.
    """
    devices = jax.devices() if devices is None else list(devices)
    shape = mesh_shape(len(devices), data, fsdp, tensor)
    data = shape[0]
    found = len({getattr(device, "slice_index", None) or 0 for device in devices})
    if slices < 1 or data % slices or (found != slices and found > 1):
        raise InputError(
            f"mesh.slices is {slices}; it must be the number of slices that the devices are in "
            f"({found}) and divide data ({data})."
        )
    if found > 1:
        inside = (data // slices, fsdp, tensor)
        grid = mesh_utils.create_hybrid_device_mesh(
            inside, (slices, 1, 1), devices, allow_split_physical_axes=True
        )
    elif slices > 1:  # virtual devices have no slice index, so they are taken in their order
        grid = np.array(devices).reshape(shape)
    else:
        # Without the option an axis of 2 on a torus of 4 x 4, or of 128 on 16 x 16, is refused.
        grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * 3)


def mesh_shape(
    devices: int, data: int = -1, fsdp: int = 1, tensor: int = 1
) -> tuple[int, int, int]:
    """The sizes of the axes for a number of devices.

    Args:
        devices: number of devices.
        data: size of the axis, or -1 for all devices that the others leave.
        fsdp: size of the axis.
        tensor: size of the axis.

    Returns:
        The sizes of `data`, `fsdp` and `tensor`.

    Raises:
        InputError: the sizes do not multiply to the number of devices.
    """
    inner = fsdp * tensor
    if min(fsdp, tensor) < 1 or devices % inner or data not in (-1, devices // inner):
        raise InputError(
            f"mesh is data {data} x fsdp {fsdp} x tensor {tensor}, but there are {devices} "
            "devices; fsdp x tensor must divide their number, and data be -1 or the quotient."
        )
    return devices // inner, fsdp, tensor


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that is whole on every device."""
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of an array whose rows are split over data x fsdp."""
    return NamedSharding(mesh, P(BATCH))


def ways(mesh: Mesh) -> int:
    """Number of parts that the batch is split into."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def partition(
    path: str, shape: tuple[int, ...], sizes: Mapping[str, int], min_size: int = MIN_SHARD_SIZE
) -> P:
    """The split of a parameter: by its path over `tensor`, then by its shape over `fsdp`.

    `fsdp` splits the longest axis that is left and that it divides, but never a convolution's
    height or width, where XLA would exchange halos between devices. It splits no array of one axis
    (biases, scales) and no small one. The path of an average or a moment ends with that of its
    parameter and its shape is the same, so it lies where the parameter does.

    Args:
        path: names joined by "/", such as "unet/input_1_res/in_conv/kernel".
        shape: shape of the parameter.
        sizes: sizes of the mesh's axes, by name.
        min_size: parameters with fewer numbers are whole on every device of `fsdp`.
    """
    spec: list[str | None] = [None] * len(shape)
    fsdp, tensor = sizes["fsdp"], sizes["tensor"]
    module, _, leaf = path.rpartition("/")
    if len(shape) >= (2 if leaf == "kernel" else 1) and tensor > 1:
        if _COLUMNS.search(module) and shape[-1] % tensor == 0:
            spec[-1] = "tensor"
        if _ROWS.search(module) and leaf == "kernel" and shape[-2] % tensor == 0:
            spec[-2] = "tensor"
    if fsdp > 1 and len(shape) > 1 and math.prod(shape) >= min_size:
        first = len(shape) - 2 if len(shape) == 4 else 0
        left = [i for i in range(first, len(shape)) if not spec[i] and shape[i] % fsdp == 0]
        if left:
            spec[max(left, key=lambda i: shape[i])] = "fsdp"
    return P(*spec) if any(spec) else P()


def shardings(tree: Any, mesh: Mesh, min_size: int = MIN_SHARD_SIZE) -> PyTree[NamedSharding]:
    """The place of each array in a tree.

    Args:
        tree: parameters or a train state, or their shapes.
        mesh: the mesh to place them on.
        min_size: see `partition`.
    """

    def place(path: tuple, x: Any) -> NamedSharding:
        return NamedSharding(mesh, partition(path_of(path), x.shape, mesh.shape, min_size))

    return jax.tree_util.tree_map_with_path(place, tree)


def shard_state(state: T, mesh: Mesh, min_size: int = MIN_SHARD_SIZE) -> T:
    """Puts a tree at the places of `shardings`.

    Args:
        state: a tree of arrays.
        mesh: the mesh to put it on.
        min_size: see `partition`.
    """
    return jax.device_put(state, shardings(state, mesh, min_size))


def at_use(
    path: str, p: Array, dtype: DTypeLike, *, mesh: Mesh, min_size: int = MIN_SHARD_SIZE
) -> Array:
    """A parameter as a layer reads it: in its compute dtype, and gathered over `fsdp`.

    It is gathered in the layer and not at the beginning of the step, so that it is gone after the
    layer; where the layer is computed again, it is gathered again. The cast is first, so that half
    as much is sent. The gradient is summed and scattered in the same place, because the transpose
    of a plain gather would leave whole gradients on every device.

    Args:
        path: the parameter's path.
        p: the parameter, float32.
        dtype: the layer's compute dtype.
        mesh: the mesh of the step.
        min_size: see `partition`.
    """
    stored = NamedSharding(mesh, partition(path, p.shape, mesh.shape, min_size))
    used = NamedSharding(mesh, P(*(None if axis == "fsdp" else axis for axis in stored.spec)))
    return _gathered(p, np.dtype(dtype), stored, used)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _gathered(p: Array, dtype: np.dtype, stored: NamedSharding, used: NamedSharding) -> Array:
    p = jax.lax.with_sharding_constraint(p.astype(dtype), stored)
    return jax.lax.with_sharding_constraint(p, used)


def _gathered_forward(p: Array, dtype: np.dtype, stored: NamedSharding, used: NamedSharding):
    return _gathered(p, dtype, stored, used), None


def _gathered_backward(
    dtype: np.dtype, stored: NamedSharding, used: NamedSharding, _: None, gradient: Array
) -> tuple[Array]:
    return (jax.lax.with_sharding_constraint(gradient, stored).astype(np.float32),)


_gathered.defvjp(_gathered_forward, _gathered_backward)


def at_output(path: str, x: Array, *, mesh: Mesh) -> Array:
    """A layer's output on the batch's devices; its last axis over `tensor` where rules say so.

    An array without a batch, or with one that is not split (a single empty prompt), is returned
    as it is.

    Args:
        path: the layer's path.
        x: the output, with leading axis b.
        mesh: the mesh of the step.
    """
    if x.ndim < 2 or x.shape[0] % ways(mesh):
        return x
    split = mesh.shape["tensor"] > 1 and _COLUMNS.search(path)
    last = "tensor" if split and x.shape[-1] % mesh.shape["tensor"] == 0 else None
    spec = P(BATCH, *(None,) * (x.ndim - 2), last)
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def bytes_on_device(tree: Any) -> int:
    """Bytes that a tree of arrays, or of shapes with shardings, takes on one device."""
    size = lambda x: math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
    return sum(map(size, jax.tree.leaves(tree)))


def local_rows(mesh: Mesh, size: int) -> list[int]:
    """Numbers of the rows of a batch that this process's devices hold, ascending.

    Where `tensor` goes over hosts, several hosts hold the same rows.

    Raises:
        InputError: the batch cannot be split over all devices.
    """
    _check_split(size, mesh)
    held = batch_sharding(mesh).addressable_devices_indices_map((size,)).values()
    return sorted({row for index in held if index for row in range(size)[index[0]]})


def _check_split(size: int, mesh: Mesh) -> None:
    if size % ways(mesh):
        raise InputError(
            f"batch_size is {size}; it must be a multiple of {ways(mesh)}, the number of "
            "devices that a batch is split over."
        )


def put_batch(batch: T, mesh: Mesh, size: int | None = None) -> T:
    """Puts the rows that this process has of a batch on the mesh.

    Args:
        batch: a tree of arrays, each with the rows of `local_rows`.
        mesh: the mesh of all devices.
        size: number of rows of the whole batch; None if this process has all of them.

    Raises:
        InputError: the batch cannot be split over all devices.
    """
    place = batch_sharding(mesh)

    def put(rows: np.ndarray) -> jax.Array:
        whole = rows.shape[0] if size is None else size
        _check_split(whole, mesh)
        shape = (whole, *rows.shape[1:])
        return jax.make_array_from_process_local_data(place, np.asarray(rows), shape)

    return jax.tree.map(put, batch)
