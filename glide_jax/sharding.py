"""Where arrays lie: a mesh of two axes, and rules from a parameter's shape to its partition.

Nothing here or anywhere else names an axis inside a model: arrays are placed, and the compiler does
the rest. Two axes are all there are on purpose. With a third, that splits kernels once more, XLA's
CPU backend computes wrong gradients without a word (losses stay right), so whoever adds one has to
compare gradients with those of one device.
"""

import math
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from glide_jax.errors import InputError

T = TypeVar("T")

# Below 64 KiB a parameter costs more to gather than to keep everywhere.
MIN_SHARD_SIZE = 2**14


def make_mesh(data: int = -1, fsdp: int = 1) -> Mesh:
    """All devices, as data x fsdp: both split the batch, and the second the parameters too.

    Axes are Auto: the compiler propagates shardings through convolutions and reshapes. JAX's
    default is Explicit, under which merging the heads of a sharded batch is an error.

    Args:
        data: -1 is all devices that fsdp leaves.
        fsdp: over how many devices one copy of the parameters is spread.

    Raises:
        InputError: the two do not multiply to the number of devices.
    """
    devices = jax.device_count()
    if fsdp < 1 or devices % fsdp or data not in (-1, devices // fsdp):
        raise InputError(
            f"mesh is data {data} x fsdp {fsdp}, but there are {devices} devices; fsdp must divide "
            "their number, and data be -1 or the quotient."
        )
    shape = (devices // fsdp, fsdp)
    return jax.make_mesh(shape, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Split in rows over every device."""
    return NamedSharding(mesh, P(("data", "fsdp")))


def partition(shape: tuple[int, ...], fsdp: int, min_size: int = MIN_SHARD_SIZE) -> P:
    """How a parameter of this shape is split: along its longest axis that fsdp divides.

    Never along a convolution's height and width, where XLA would exchange halos between devices,
    and not at all where there is one axis (biases, scales) or little to gain.
    """
    if len(shape) < 2 or math.prod(shape) < min_size or fsdp == 1:
        return P()
    axes = range(len(shape) - 2, len(shape)) if len(shape) == 4 else range(len(shape))
    divisible = [axis for axis in axes if shape[axis] % fsdp == 0]
    if not divisible:
        return P()
    longest = max(divisible, key=lambda axis: shape[axis])
    return P(*("fsdp" if axis == longest else None for axis in range(len(shape))))


def shardings(tree: Any, mesh: Mesh, min_size: int = MIN_SHARD_SIZE) -> PyTree[NamedSharding]:
    """The place of each array of a tree: of parameters, of a train state, or of their shapes.

    Averages and moments have the shapes of their parameters, and so their places.
    """
    fsdp = mesh.shape["fsdp"]
    return jax.tree.map(lambda x: NamedSharding(mesh, partition(x.shape, fsdp, min_size)), tree)


def shard_state(state: T, mesh: Mesh, min_size: int = MIN_SHARD_SIZE) -> T:
    """The tree at the places of `shardings`."""
    return jax.device_put(state, shardings(state, mesh, min_size))


def gathered(params: T, mesh: Mesh) -> T:
    """Inside a compiled loss: the parameters whole on every device, just before their use.

    Left to itself, XLA may rather split activations by channels to fit the parameters, and
    exchange them inside convolutions. The gradient's sum over devices is scattered back.
    """
    whole = replicated(mesh)
    return jax.tree.map(lambda p: jax.lax.with_sharding_constraint(p, whole), params)


def put_batch(batch: T, mesh: Mesh) -> T:
    """A batch on the mesh, from the rows that this process has of it.

    Raises:
        InputError: the global batch cannot be split over all devices.
    """
    place = batch_sharding(mesh)

    def put(rows: np.ndarray) -> jax.Array:
        size = rows.shape[0] * jax.process_count()
        if size % mesh.size:
            raise InputError(
                f"batch_size is {size}; it must be a multiple of {mesh.size}, the number of "
                "devices."
            )
        return jax.make_array_from_process_local_data(place, np.asarray(rows))

    return jax.tree.map(put, batch)
