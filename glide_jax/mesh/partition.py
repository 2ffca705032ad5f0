"""Where arrays lie: a mesh of three axes, and rules from a parameter's path to its partition.

`data` and `fsdp` split the batch; `fsdp` also splits what is kept of parameters, averages and
moments; `tensor` splits the work inside a layer. Nothing inside a model names an axis: parameters
pass `at_use` where a layer reads them, and activations `at_output` where one gives them.

Both are needed, not only quick. Left to propagate a batch over data x fsdp and kernels over
fsdp x tensor by itself, XLA's CPU backend computes wrong gradients without a word (losses stay
right), so every rule is compared with one device gradient by gradient: `glide-jax shard --check`.
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
BATCH = ("data", "fsdp")  # a row of the batch is on as many devices as `tensor` has

# Below 64 KiB a parameter costs more to gather than to keep everywhere.
MIN_SHARD_SIZE = 2**14

# Megatron's pairs (Shoeybi et al., 2019): the first layer of a pair gives each device some of the
# outputs (whole heads; the MLP's units; a residual block's inner channels, whose norm has whole
# groups there), the second sums over them, so that a pair costs one sum. What is in neither list
# is computed by every device of `tensor` alike: `emb`, whose halves are scale and shift, the
# narrow ends of the UNet, 1 x 1 skips, embedding tables.
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
        data: -1 is all devices that the others leave.
        fsdp: over how many devices one copy of the parameters is spread.
        tensor: over how many devices the work inside a layer is spread.
        slices: of a TPU pod, joined by the slower network: the outermost part of `data`, so that
            only the sum of gradients goes over it.
        devices: those of this machine, or of a description of another.

    Raises:
        InputError: the axes do not multiply to the number of devices, or the slices are others.
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
    elif slices > 1:  # of devices that know of no slices, such as virtual ones: in their order
        grid = np.array(devices).reshape(shape)
    else:
        # Else an axis of 2 on a torus of 4 x 4, or of 128 on 16 x 16, would be refused.
        grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * 3)


def mesh_shape(
    devices: int, data: int = -1, fsdp: int = 1, tensor: int = 1
) -> tuple[int, int, int]:
    """The axes' sizes for a number of devices.

    Raises:
        InputError: they do not multiply to it.
    """
    inner = fsdp * tensor
    if min(fsdp, tensor) < 1 or devices % inner or data not in (-1, devices // inner):
        raise InputError(
            f"mesh is data {data} x fsdp {fsdp} x tensor {tensor}, but there are {devices} "
            "devices; fsdp x tensor must divide their number, and data be -1 or the quotient."
        )
    return devices // inner, fsdp, tensor


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Split in rows over data x fsdp."""
    return NamedSharding(mesh, P(BATCH))


def ways(mesh: Mesh) -> int:
    """In how many parts the batch is."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def partition(
    path: str, shape: tuple[int, ...], sizes: Mapping[str, int], min_size: int = MIN_SHARD_SIZE
) -> P:
    """How a parameter is split: by its path over `tensor`, then by its shape over `fsdp`.

    Over `fsdp` goes the longest axis that is left and that it divides, but never a convolution's
    height or width, where XLA would exchange halos between devices; and nothing that has one axis
    (biases, scales) or is small. Averages and moments have the paths and shapes of their
    parameters at the end of their own, and so their places.

    Args:
        path: names joined by "/", such as "unet/input_1_res/in_conv/kernel".
        shape: of the parameter.
        sizes: of the axes of the mesh.
        min_size: parameters with fewer numbers are on every device of `fsdp`.
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
    """The place of each array of a tree: of parameters, of a train state, or of their shapes."""

    def place(path: tuple, x: Any) -> NamedSharding:
        return NamedSharding(mesh, partition(path_of(path), x.shape, mesh.shape, min_size))

    return jax.tree_util.tree_map_with_path(place, tree)


def shard_state(state: T, mesh: Mesh, min_size: int = MIN_SHARD_SIZE) -> T:
    """The tree at the places of `shardings`."""
    return jax.device_put(state, shardings(state, mesh, min_size))


def at_use(
    path: str, p: Array, dtype: DTypeLike, *, mesh: Mesh, min_size: int = MIN_SHARD_SIZE
) -> Array:
    """A parameter as a layer reads it: in its compute dtype, and gathered over `fsdp`.

    Gathered there and not at the beginning of the step, it is gone after the layer, and gathered
    again where the layer is computed again. The cast is first, so that half as much is sent. Its
    gradient is summed and scattered in the same place: said otherwise, the transpose of a gather
    would leave whole gradients on every device.
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

    What has no batch, or one that is not split (a single empty prompt), is left alone.

    Args:
        path: of the layer.
        x: leading axis b.
        mesh: the mesh.
    """
    if x.ndim < 2 or x.shape[0] % ways(mesh):
        return x
    split = mesh.shape["tensor"] > 1 and _COLUMNS.search(path)
    last = "tensor" if split and x.shape[-1] % mesh.shape["tensor"] == 0 else None
    spec = P(BATCH, *(None,) * (x.ndim - 2), last)
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def bytes_on_device(tree: Any) -> int:
    """Of a tree of arrays, or of shapes, that have their places."""
    of = lambda x: math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
    return sum(map(of, jax.tree.leaves(tree)))


def local_rows(mesh: Mesh, size: int) -> list[int]:
    """Which rows of a batch this process's devices hold, ascending.

    Where `tensor` goes over hosts, several hold the same.

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
    """A batch on the mesh, from the rows that this process has of it.

    Args:
        batch: `local_rows` of each array.
        mesh: of all devices.
        size: of the whole batch; None is that of what is given.

    Raises:
        InputError: the batch cannot be split over all devices.
    """
    place = batch_sharding(mesh)

    def put(rows: np.ndarray) -> jax.Array:
        whole = rows.shape[0] if size is None else size
        _check_split(whole, mesh)
        return jax.make_array_from_process_local_data(
            place, np.asarray(rows), (whole, *rows.shape[1:])
        )

    return jax.tree.map(put, batch)
