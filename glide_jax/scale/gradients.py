"""A proof that gradients on a mesh are those of one device."""

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from glide_jax.mesh import partition
from glide_jax.training.objectives import Batch
from glide_jax.training.plan import Plan, plan
from glide_jax.types import Params

# Of a gradient's largest number in a tensor. Sums in another order are off by 1e-6 to 1e-4 where
# they cancel; the wrong gradients of which sharding.py warns are off by their own size.
TOLERANCE = 2e-3


# Of a reduced model the parameters that are split, so that it is split as a large one is.
SMALL = 512


# The check's programs run twice, and optimising them would take most of the time.
_QUICK = {"xla_backend_optimization_level": 0}


class Difference(NamedTuple):
    """How far a tensor of the gradient is from that of one device."""

    name: str
    relative: float  # to the largest number in the tensor

    @property
    def wrong(self) -> bool:
        """Whether rounding does not explain it."""
        return not self.relative <= TOLERANCE  # NaN is wrong too


def reduced(config: ConfigDict, tensor: int = 1) -> ConfigDict:
    """The same run a few channels wide: every kind of layer that it has, in float32.

    Args:
        config: the run's.
        tensor: that heads are to be divided over.
    """
    small = config.copy_and_resolve_references()
    small.unlock()
    model, heads = small.model, max(2, tensor)
    model.update(
        text_layers=1, text_context=6, vocab_size=304, text_width=32 if model.text_width else 0
    )
    model.text_heads = heads
    if small.objective == "clip":
        model.update(image_size=2 * model.patch, image_width=32, image_layers=1, image_heads=heads)
        model.embedding_width = 32
    else:
        depth = min(2, len(model.channel_mult))
        side = model.patch * 8
        attention = (side // model.patch // 2 ** (depth - 1),) if model.attention else ()
        model.update(image_size=side, channels=32, channel_mult=(1, 2)[:depth], res_blocks=1)
        model.update(attention=attention, head_channels=32 // heads, heads=1, heads_up=-1)
        small.data.update(window=0, low_res=side // 4 if small.data.low_res else 0)
    small.train.update(dtype="float32", loss_scale="none", init_from="")
    small.optim.accumulate = 1
    return small.lock()


def reduced_mesh(shape: Sequence[int], devices: int) -> tuple[int, ...]:
    """A mesh of at most so many devices, split along the axes that the large one is split along."""
    found = [1] * len(shape)
    while True:
        room = [i for i, n in enumerate(shape) if n % (found[i] * 2) == 0]
        if not room or math.prod(found) * 2 > devices:
            return tuple(found)
        found[min(room, key=lambda i: found[i])] *= 2


def differences(
    config: ConfigDict, mesh: Mesh, min_size: int = SMALL
) -> tuple[float, list[Difference]]:
    """The loss's relative difference from one device's, and that of every gradient tensor.

    Parameters are noise, so that none is idle; the batch is the same on both.

    Args:
        config: a small one, see `reduced`; its own mesh is not looked at.
        mesh: of devices that are here.
        min_size: see `sharding.partition`.
    """
    alone = partition.make_mesh(devices=[mesh.devices.flat[0]])
    batch = 2 * partition.ways(mesh)
    wanted, found = (gradients(config, m, batch, min_size) for m in (alone, mesh))
    return compare(found, wanted)


def compare(found: tuple[Any, Any], wanted: tuple[Any, Any]) -> tuple[float, list[Difference]]:
    """(loss, gradients) beside those of one device, as `differences` gives them.

    Softmax does not see the bias of keys, and what its gradient holds is rounding: no tensor is
    measured by less than 1e-4 of the largest number there is.
    """
    floor = 1e-4 * max(float(np.abs(y).max()) for y in jax.tree.leaves(wanted[1]))

    def gap(path: tuple, x: np.ndarray, y: np.ndarray) -> Difference:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return Difference(name, float(np.abs(x - y).max() / max(np.abs(y).max(), floor)))

    tree = jax.tree_util.tree_map_with_path(gap, found[1], wanted[1])
    each = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Difference))
    return abs(float(found[0]) / float(wanted[0]) - 1.0), each


def noise(like: Params, std: Callable[[tuple[int, ...]], float] = lambda shape: 0.1) -> Params:
    """Numbers for every parameter that depend on its path alone; scales are around 1.

    Args:
        like: the parameters' shapes.
        std: of a shape.
    """

    def draw(path: tuple, leaf: Any) -> np.ndarray:
        name = jax.tree_util.keystr(path)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        numbers = rng.standard_normal(leaf.shape, np.float32) * np.float32(std(leaf.shape))
        return numbers + np.float32("scale'" in name)

    return jax.tree_util.tree_map_with_path(draw, like)


def gradients(config: ConfigDict, mesh: Mesh, batch: int, min_size: int = SMALL) -> tuple[Any, Any]:
    """The loss and its gradient at a noise of parameters and data, on the host.

    Args:
        config: a small one.
        mesh: of devices that are here.
        batch: pictures in it.
        min_size: see `sharding.partition`.
    """
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.train.batch_size = batch
    planned = plan(config, jnp.zeros(config.model.text_context, jnp.int32), mesh, min_size)
    like = planned.state_like.params
    params = jax.tree.map(lambda p, x: jax.device_put(p, x.sharding), noise(like), like)
    places = jax.tree.map(lambda x: x.sharding, like)
    loss = lambda params, batch, key: planned.loss_fn(params, batch, key)[0]
    program = jax.jit(
        jax.value_and_grad(loss), out_shardings=(None, places), compiler_options=_QUICK
    )
    return jax.device_get(program(params, batch_of(planned), jax.random.key(0)))


def batch_of(planned: Plan, seed: int = 0) -> Batch:
    """A batch of noise, on the plan's mesh."""
    rng = np.random.default_rng(seed)

    def draw(x: jax.ShapeDtypeStruct) -> jax.Array:
        if x.dtype == np.float32:
            return jax.device_put(np.float32(rng.uniform(-1, 1, x.shape)), x.sharding)
        if x.dtype == np.bool_:
            lengths = rng.integers(1, x.shape[1] + 1, (x.shape[0], 1))
            return jax.device_put(np.arange(x.shape[1]) < lengths, x.sharding)
        return jax.device_put(np.int32(rng.integers(0, 300, x.shape)), x.sharding)

    return jax.tree.map(draw, planned.batch_like)
