"""A run's step, compiled, and what it costs, before the first one."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from glide_jax import compiling
from glide_jax.mesh import partition
from glide_jax.training import flops, hooks, matching
from glide_jax.training.plan import Plan

_USUAL = 0.4  # fraction of a device's peak that training reaches, for the first guess of how long


class Compiled(NamedTuple):
    """A step that is ready to run."""

    step: Callable[..., Any]  # (state, batch, key), whose state is donated
    flops: float  # on all devices: three times the loss's, whatever is computed again
    temporary: int  # bytes that a device needs besides the state and the batch
    peak_tflops: float  # one device's
    peak_source: str  # where that number is from


def compile_step(plan: Plan) -> Compiled:
    """The compiled step, and what it costs."""
    compiled = plan.lower(compiling.options()).compile()
    temporary = getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0) or 0
    if plan.config.log.peak_tflops:
        peak = (plan.config.log.peak_tflops, "log.peak_tflops")
    elif stated := flops.peak_tflops(jax.devices()[0].device_kind):
        peak = (stated, "stated by its maker")
    else:
        peak = (flops.measured_tflops(), "measured")
    return Compiled(compiled, plan.flops(), temporary, *peak)


def cost_lines(plan: Plan, compiled: Compiled) -> list[str]:
    """The size of a run, its memory and its time, in lines."""
    state, config = plan.state_like, plan.config
    devices = jax.devices()
    on_device = partition.bytes_on_device
    parts = {
        "parameters": on_device(state.params),
        "averages": on_device(state.ema),
        "optimizer": on_device(state.opt_state),
        **({"teacher": on_device(plan.teacher_like)} if plan.teacher_like else {}),
        "batch": on_device(plan.batch_like),
        "the step itself": compiled.temporary,
    }
    sizes = ", ".join(f"{name} {_bytes(number)}" for name, number in parts.items())
    drawn = matching.drawn_with(config.distill, state.params)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(drawn))
    peak = compiled.peak_tflops
    seconds = compiled.flops / (peak * _USUAL * 1e12 * len(devices)) * config.train.num_steps
    return [
        f"{config.name}: {count:,} parameters ({config.stage}) on {len(devices)} x "
        f"{devices[0].device_kind}",
        f"{compiled.flops / 1e12:.4g} TFLOP a step of {config.train.batch_size} images",
        f"memory of a device: {_bytes(sum(parts.values()))} ({sizes})",
        f"{config.train.num_steps:,} steps in about {hooks.duration(seconds)}, at {_USUAL:.0%} of "
        f"{peak:.3g} TFLOP/s a device ({compiled.peak_source})",
    ]


def _bytes(number: float) -> str:
    """12.3 MB, 4.5 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"
