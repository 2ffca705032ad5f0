"""A comparison of gradients on a mesh with those of one device."""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from glide_jax.mesh import partition
from glide_jax.model_dir import schema
from glide_jax.networks import zoo
from glide_jax.training.config import TrainConfig
from glide_jax.training.objectives import Batch
from glide_jax.training.plan import Plan, make_plan
from glide_jax.trees import path_of
from glide_jax.types import Params

# Relative to the largest number in a gradient's tensor. Sums in another order are off by 1e-6 to
# 1e-4 where they cancel; the wrong gradients of which mesh/partition.py warns, by their own size.
TOLERANCE = 2e-3
# The smallest parameter of a reduced model that is split, so that it is split like a large one.
SMALL = 512
# The check's programs run twice, and optimising them would take most of the time.
_QUICK = {"xla_backend_optimization_level": 0}


class Difference(NamedTuple):
    """The distance of a gradient's tensor from that of one device."""

    name: str
    relative: float  # to the largest number in the tensor

    @property
    def wrong(self) -> bool:
        """Whether the distance is more than rounding."""
        return not self.relative <= TOLERANCE  # NaN is wrong too


def reduced(config: TrainConfig, tensor: int = 1) -> TrainConfig:
    """The same run a few channels wide: every kind of layer that it has, in float32.

    Args:
        config: the run's.
        tensor: the number of devices that heads are to be divided over.
    """
    model, heads, batches = config.model, max(2, tensor), config.batches
    fields: dict[str, Any] = dict(text_layers=1, text_context=6, vocab_size=304, text_heads=heads)
    fields |= dict(text_width=32 if model.text_width else 0)
    if isinstance(model, zoo.ClipConfig):
        side = 2 * model.patch
        fields |= dict(image_width=32, image_layers=1, image_heads=heads, embedding_width=32)
    else:
        side, depth = 8 * model.patch, min(2, len(model.channel_mult))
        attention = (side // model.patch // 2 ** (depth - 1),) if model.attention else ()
        fields |= dict(channels=32, channel_mult=(1, 2)[:depth], res_blocks=1, attention=attention)
        fields |= dict(head_channels=32 // heads, heads=1, heads_up=-1)
    small: Any = replace(model, image_size=side, **fields)
    low_res = side // 4 if batches.low_res else 0
    stage = isinstance(config.part, schema.StageConfig)
    return replace(
        config,
        part=replace(config.part, model=small) if stage else small,
        batches=replace(batches, image_size=side, window=0, low_res=low_res),
        train=replace(config.train, dtype="float32", loss_scale="none", init_from=""),
        optim=replace(config.optim, accumulate=1),
    )


def reduced_mesh(shape: Sequence[int], devices: int) -> tuple[int, ...]:
    """A mesh of at most `devices` devices, split along the same axes as the large one."""
    found = [1] * len(shape)
    while True:
        room = [i for i, n in enumerate(shape) if n % (found[i] * 2) == 0]
        if not room or math.prod(found) * 2 > devices:
            return tuple(found)
        found[min(room, key=lambda i: found[i])] *= 2


def differences(
    config: TrainConfig, mesh: Mesh, min_size: int = SMALL
) -> tuple[float, list[Difference]]:
    """The loss's relative difference from one device's, and that of every gradient tensor.

    Parameters are random, so that none is idle; the batch is the same on both.

    Args:
        config: a small one, see `reduced`; its own mesh is not used.
        mesh: consists of devices that are here.
        min_size: see `partition.partition`.
    """
    alone = partition.make_mesh(devices=[mesh.devices.flat[0]])
    batch = 2 * partition.ways(mesh)
    wanted, found = (gradients(config, m, batch, min_size) for m in (alone, mesh))
    return compare(found, wanted)


def compare(found: tuple[Any, Any], wanted: tuple[Any, Any]) -> tuple[float, list[Difference]]:
    """Compares (loss, gradients) with those of one device; returns what `differences` does.

    Softmax is blind to the bias of keys, whose gradient is only rounding: every tensor is measured
    by at least 1e-4 of the largest number in all of them.
    """
    floor = 1e-4 * max(float(np.abs(y).max()) for y in jax.tree.leaves(wanted[1]))

    def gap(path: tuple, x: np.ndarray, y: np.ndarray) -> Difference:
        return Difference(path_of(path), float(np.abs(x - y).max() / max(np.abs(y).max(), floor)))

    tree = jax.tree_util.tree_map_with_path(gap, found[1], wanted[1])
    each = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Difference))
    return abs(float(found[0]) / float(wanted[0]) - 1.0), each


def noise(like: Params, std: Callable[[tuple[int, ...]], float] = lambda shape: 0.1) -> Params:
    """Random numbers for every parameter, seeded by its path alone; scales are around 1.

    Args:
        like: the parameters' shapes.
        std: a shape to a standard deviation.
    """

    def draw(path: tuple, leaf: Any) -> np.ndarray:
        name = jax.tree_util.keystr(path)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        numbers = rng.standard_normal(leaf.shape, np.float32) * np.float32(std(leaf.shape))
        return numbers + np.float32("scale'" in name)

    return jax.tree_util.tree_map_with_path(draw, like)


def gradients(
    config: TrainConfig, mesh: Mesh, batch: int, min_size: int = SMALL
) -> tuple[Any, Any]:
    """The loss and its gradient at random parameters and data, on the host.

    Args:
        config: a small one.
        mesh: consists of devices that are here.
        batch: number of pictures.
        min_size: see `partition.partition`.
    """
    config = replace(config, batches=replace(config.batches, batch_size=batch))
    planned = make_plan(config, jnp.zeros(config.model.text_context, jnp.int32), mesh, min_size)
    like = planned.state_like.params
    places = jax.tree.map(lambda x: x.sharding, like)
    place = lambda like: jax.tree.map(lambda p, x: jax.device_put(p, x.sharding), noise(like), like)
    loss = lambda *args: planned.loss(*args)[0]
    program = jax.jit(
        jax.value_and_grad(loss), out_shardings=(None, places), compiler_options=_QUICK
    )
    inputs = (place(like), batch_of(planned), jax.random.key(0), *map(place, planned.teacher_like))
    return jax.device_get(program(*inputs))


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
