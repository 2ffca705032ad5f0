"""What a mesh does to a run: a table of its places, and a proof that gradients stay right."""

from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh
from ml_collections import ConfigDict

from glide_jax.mesh import partition
from glide_jax.training.plan import Plan


class Row(NamedTuple):
    """A parameter's place."""

    name: str
    shape: tuple[int, ...]
    spec: tuple[Any, ...]
    bytes: int  # of a device


def abstract_mesh(config: ConfigDict, devices: int) -> Mesh:
    """The mesh of a config on so many devices that need not be there; for shapes only."""
    m = config.mesh
    shape = partition.mesh_shape(devices, m.data, m.fsdp, m.tensor)
    return AbstractMesh(shape, partition.AXES, axis_types=(AxisType.Auto,) * 3)  # type: ignore[return-value]


def rows(tree: Any) -> list[Row]:
    """The place of each array of a tree of shapes with shardings."""
    found = []
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        spec = (*x.sharding.spec, *(None,) * (len(x.shape) - len(x.sharding.spec)))
        found.append(Row(name, x.shape, spec, partition.bytes_on_device(x)))
    return found


def totals(planned: Plan) -> dict[str, tuple[int, int]]:
    """Bytes (of all, of a device) of what a run keeps from step to step."""
    state = planned.state_like
    parts = {"parameters": state.params, "optimizer": state.opt_state, "averages": state.ema}
    whole = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
    found = {k: (whole(v), partition.bytes_on_device(v)) for k, v in parts.items()}
    return found | {"state": tuple(map(sum, zip(*found.values(), strict=True)))}  # type: ignore[dict-item]
