"""What a run costs, told before its first step."""

import math

import jax
from ml_collections import ConfigDict

from glide_jax.mesh import partition
from glide_jax.training import flops, hooks, run

_USUAL = 0.4  # part of a device's peak that training reaches, for the first guess of how long


def report(run: run.Run, compiled: run.Compiled, peak: float, source: str) -> list[str]:
    """What a run is and costs, in lines, before its first step; `peak_of` gives the last two."""
    state, config = run.state_like, run.config
    devices = jax.devices()
    kind = devices[0].device_kind
    on_device = partition.bytes_on_device
    parts = {
        "parameters": on_device(state.params),
        "averages": on_device(state.ema),
        "optimizer": on_device(state.opt_state),
        "batch": on_device(run.batch_like),
        "the step itself": compiled.temporary,
    }
    sizes = ", ".join(f"{name} {size(number)}" for name, number in parts.items())
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params))
    seconds = compiled.flops / (peak * _USUAL * 1e12 * len(devices)) * config.train.num_steps
    return [
        f"{config.name}: {count:,} parameters ({run.stage}) on {len(devices)} x {kind}",
        f"{compiled.flops / 1e12:.4g} TFLOP a step of {config.train.batch_size} images",
        f"memory of a device: {size(sum(parts.values()))} ({sizes})",
        f"{config.train.num_steps:,} steps in about {hooks.duration(seconds)}, at {_USUAL:.0%} of "
        f"{peak:.3g} TFLOP/s a device ({source})",
    ]


def peak_of(config: ConfigDict) -> tuple[float, str]:
    """TFLOP/s of one device, and where that number is from."""
    if config.log.peak_tflops:
        return config.log.peak_tflops, "log.peak_tflops"
    found = flops.peak_tflops(jax.devices()[0].device_kind)
    return (found, "stated by its maker") if found else (flops.measured_tflops(), "measured")


def size(number: float) -> str:
    """12.3 MB, 4.5 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"
