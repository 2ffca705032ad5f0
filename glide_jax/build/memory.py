"""What a stage needs of a device's memory to draw, before anything is loaded."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from glide_jax import compiling
from glide_jax.build import initial, models
from glide_jax.build.convolutions import prepared
from glide_jax.types import Cond


@dataclasses.dataclass(frozen=True)
class Needs:
    """Bytes of one stage."""

    parameters: int  # as they lie on the device, transformed kernels included
    first: int  # of one guided picture besides
    more: int  # of each further picture of a batch

    def fits(self, budget: int) -> int:
        """How many pictures a batch may have; 0 where not even one fits."""
        left = budget - self.parameters - self.first
        return 0 if left < 0 else 1 + left // max(1, self.more)


def of_stage(config: models.StageConfig, dtype: str, convolutions: str = "auto") -> Needs:
    """What the compiler says of guided evaluations of one and two pictures.

    Args:
        config: of the stage.
        dtype: that it computes in.
        convolutions: see `convolutions.prepared`.
    """
    prepare = functools.partial(prepared, config.model, choice=convolutions, dtype=dtype)
    params = jax.eval_shape(prepare, initial.shapes(config.model))
    one, two = (_temporary(config, params, dtype, batch) for batch in (1, 2))
    return Needs(_bytes(params), one, max(0, two - one))


def _temporary(config: models.StageConfig, params: Any, dtype: str, batch: int) -> int:
    """Bytes of one evaluation's inputs, outputs and what is in between."""
    stage, m = models.stage(config, dtype), config.model
    rows = batch if m.upsampler else 2 * batch  # a guided pair
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
