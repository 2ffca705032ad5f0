"""Tables of the places that a mesh gives to a run's arrays."""

from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh

from glide_jax.mesh import partition
from glide_jax.training.config import TrainConfig
from glide_jax.training.plan import Plan
from glide_jax.trees import path_of


class Row(NamedTuple):
    """A parameter's place."""

    name: str
    shape: tuple[int, ...]
    spec: tuple[Any, ...]
    bytes: int  # on each device


def abstract_mesh(config: TrainConfig, devices: int) -> Mesh:
    """The config's mesh on a number of devices that need not be here; for shapes only."""
    m = config.mesh
    shape = partition.mesh_shape(devices, m.data, m.fsdp, m.tensor)
    return AbstractMesh(shape, partition.AXES, axis_types=(AxisType.Auto,) * 3)  # type: ignore[return-value]


def rows(tree: Any) -> list[Row]:
    """The place of each array of a tree of shapes with shardings."""
    found = []
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        spec = (*x.sharding.spec, *(None,) * (len(x.shape) - len(x.sharding.spec)))
        found.append(Row(path_of(path), x.shape, spec, partition.bytes_on_device(x)))
    return found


def totals(planned: Plan) -> dict[str, tuple[int, int]]:
    """Bytes (in all, on each device) of the arrays that a run keeps from step to step.

    A student's teacher is no part of its state, and stands last.
    """
    state = planned.state_like
    parts = {"parameters": state.params, "optimizer": state.opt_state, "averages": state.ema}
    whole = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
    sizes = lambda parts: {k: (whole(v), partition.bytes_on_device(v)) for k, v in parts.items()}
    found, teacher = sizes(parts), {"teacher": planned.teacher_like} if planned.teacher else {}
    state: Any = tuple(map(sum, zip(*found.values(), strict=True)))
    return found | {"state": state} | sizes(teacher)
