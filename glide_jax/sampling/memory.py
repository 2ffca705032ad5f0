"""The memory that a stage needs for drawing, and the memory that a device has free."""

import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import compiling
from glide_jax.model_dir import schema
from glide_jax.networks import initial
from glide_jax.networks.cpu.choice import prepared
from glide_jax.sampling import stages
from glide_jax.sampling.loading import Loaded
from glide_jax.types import Cond, Params, Stage

# Share of free memory that a batch may fill: the compiler's figure leaves out gaps between arrays.
_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class Needs:
    """Bytes of one stage."""

    parameters: int  # on the device, transformed kernels included
    first: int  # for one guided picture besides
    more: int  # for each further picture of a batch

    def fits(self, budget: int) -> int:
        """How many pictures a batch may have; 0 where not even one fits."""
        left = budget - self.parameters - self.first
        return 0 if left < 0 else 1 + left // max(1, self.more)


def of_stage(config: schema.StageConfig, dtype: str, convolutions: str = "auto") -> Needs:
    """The compiler's figures for guided evaluations of one and two pictures.

    Args:
        config: the stage's.
        dtype: the type that it computes in.
        convolutions: see `prepared`.
    """
    prepare = functools.partial(prepared, config.model, choice=convolutions, dtype=dtype)
    params = jax.eval_shape(prepare, initial.shapes(config.model))
    return of_network(config, stages.stage(config, dtype), params)


def of_network(config: schema.StageConfig, stage: Stage, params: Params) -> Needs:
    """The same as `of_stage`, for a stage that is there already.

    Args:
        config: the stage's.
        stage: its functions.
        params: its parameters, or their shapes.
    """
    like = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    one, two = (_temporary(config, stage, like, batch) for batch in (1, 2))
    return Needs(_bytes(like), one, max(0, two - one))


def largest_batch(loaded: Loaded, most: int, free: int) -> int:
    """The largest power of two, up to `most`, of pictures whose stages fit into `free` bytes.

    Parameters that are on the device have taken theirs already. At least 1: whether one picture
    fits shows best by drawing it.

    Args:
        loaded: the model.
        most: the largest answer.
        free: free bytes of the device.
    """
    fits = most
    for name, config in loaded.configs.items():
        needs = of_network(config, loaded.stages[name], loaded.params[name])
        on_host = isinstance(jax.tree.leaves(loaded.params[name])[0], np.ndarray)
        fits = min(fits, needs.fits(int(_SHARE * free) + (0 if on_host else needs.parameters)))
    return 1 << max(0, fits.bit_length() - 1)


def free(device: Any = None) -> tuple[int, str]:
    """Free bytes of a device (of the host on CPUs), by default JAX's, and a label for messages."""
    stats = (device or jax.local_devices()[0]).memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0)), "free on the device"
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"), "of memory free"


def _temporary(config: schema.StageConfig, stage: Stage, params: Any, batch: int) -> int:
    """Bytes of one evaluation's inputs, outputs and temporaries."""
    m = config.model
    rows = batch if m.upsampler or m.guidance else 2 * batch  # a guided pair
    like: Any = lambda kind, *shape: jax.ShapeDtypeStruct((rows, *shape), kind)
    image, small = like(jnp.float32, m.image_size, m.image_size, 3), m.image_size // 4
    tokens, mask = like(jnp.int32, m.text_context), like(jnp.bool_, m.text_context)
    low_res = like(jnp.float32, small, small, 3) if m.upsampler else None
    text = jax.eval_shape(stage.encode, params, tokens, mask)
    run = lambda params, x_t, t, cond: stage.network(params)(x_t, t, cond)
    program = jax.jit(run, compiler_options=compiling.options())
    compiled = program.lower(params, image, like(jnp.int32), Cond(text, low_res=low_res)).compile()
    found: Any = compiled.memory_analysis()
    inputs = _bytes((image, text, low_res))
    return int(found.temp_size_in_bytes + found.output_size_in_bytes) + inputs


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
