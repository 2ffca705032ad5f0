"""The benchmark: which rows there are, how each is measured, what is written down of it."""

import dataclasses
import pathlib
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from glide_jax import build, checks
from glide_jax.benchmarks import limits, networks
from glide_jax.benchmarks.networks import Inputs, Part
from glide_jax.benchmarks.reference import Reference
from glide_jax.benchmarks.timing import Times, in_turn
from glide_jax.errors import InputError
from glide_jax.models import zoo

OURS, THEIRS, CACHED = "glide_jax", "reference", "reference, text cached"
WHAT = ("limits", "text", "evaluation", "gradient", "image")
# Largest difference of outputs of size 1 that is still the same function, by the coarser dtype.
TOLERANCES = {"float32": 2e-4, "bfloat16": 0.15, "float16": 0.05}


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured."""

    what: tuple[str, ...] = WHAT
    batch_sizes: tuple[int, ...] = (1, 2, 8)
    rounds: int = 5
    dtype: str = "float32"
    convolutions: str = "auto"
    presets: tuple[str, ...] = ("fast",)
    reference: pathlib.Path | None = None

    def __post_init__(self):
        """Refuses what cannot be."""
        for what in self.what:
            checks.one_of("what", what, WHAT)
        for preset in self.presets:
            checks.one_of("preset", preset, tuple(build.PRESETS))
        checks.one_of("dtype", self.dtype, tuple(TOLERANCES))
        checks.whole("rounds", self.rounds, 1, 10_000)
        for size in self.batch_sizes:
            checks.whole("batch_size", size, 1, 4096)


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured thing."""

    name: str
    times: dict[str, Times]  # of each side
    flops: float  # of the plain algorithm, whatever was done
    error: float | None = None  # largest difference of the sides' outputs, of outputs' size 1

    def tflops(self, side: str = OURS) -> float:
        """Of the plain algorithm's operations, in the median round."""
        return self.flops / self.times[side].median / 1e12


def parts(
    model: str | None, models: pathlib.Path, options: Options, only: str | None = None
) -> list[Part]:
    """The networks of a model directory, or the released sizes with random weights.

    Args:
        model: a directory or name; None for random weights.
        models: the folder of models by name.
        options: what will be measured.
        only: base or upsample, if not both.

    Raises:
        InputError: there is no such model.
    """
    if model is None:
        found = {}
        for name, schedule in (("base", "squaredcos_cap_v2"), ("upsample", "linear")):
            if only not in (None, name):
                continue
            config = build.StageConfig(zoo.named(name), schedule)
            found[name] = (config, networks.random_params(config.model))
    else:
        found = dict(build.read(build.find(model, models)).stages)
    make = lambda name, config, host: networks.part(
        name, config, host, options.dtype, options.convolutions
    )
    return [make(name, *content) for name, content in found.items() if only in (None, name)]


def rows(
    parts: Sequence[Part], options: Options, tick: Callable[[], Any], *, first: bool = True
) -> Iterator[Row]:
    """Measures one row after another.

    Args:
        parts: the networks.
        options: what to measure.
        tick: told of every call that has ended.
        first: whether the machine's limits are among them.

    Raises:
        InputError: the reference cannot be run, or its outputs differ from ours.
    """
    make = lambda part: None if options.reference is None else Reference(options.reference, part)
    theirs = [
        make(part) for part in parts
    ]  # what is wrong with it is said before anything is timed
    if first and "limits" in options.what:
        for name, (call, flops) in limits.calls(options.dtype).items():
            yield Row(f"limit: {name}", in_turn({OURS: call}, options.rounds, tick=tick), flops)
    for part, reference in zip(parts, theirs, strict=True):
        yield from _of_part(part, reference, options, tick)


def _of_part(
    part: Part, theirs: Reference | None, options: Options, tick: Callable[[], Any]
) -> Iterator[Row]:
    def row(what: str, call: Callable, flops: float, others: dict, error: float | None) -> Row:
        times = in_turn({OURS: call, **others}, options.rounds, tick=tick)
        return Row(f"{part.name}: {what}", times, flops, error)

    first = networks.inputs(part.config.model, min(options.batch_sizes))
    if "text" in options.what:
        call, flops = networks.encode(part, first)
        others = {} if theirs is None else {THEIRS: theirs.encode(first)}
        yield row(f"text, batch {len(first.t)}", call, flops, others, None)
    if "evaluation" in options.what:
        for size in options.batch_sizes:
            x = networks.inputs(part.config.model, size)
            call, flops = networks.evaluate(part, x)
            others, error = {}, None
            if theirs is not None:
                error = agreement(part.name, call, theirs, x, options.dtype)
                others = {
                    THEIRS: theirs.evaluate(x, cached=False),
                    CACHED: theirs.evaluate(x, cached=True),
                }
            yield row(f"evaluation, batch {size}", call, flops, others, error)
            if theirs is not None:
                theirs.model.cache = None
    if "gradient" in options.what:
        call, flops = networks.gradient(part, first)
        others = {} if theirs is None else {THEIRS: theirs.gradient(first)}
        yield row(f"gradient, batch {len(first.t)}", call, flops, others, None)
    if "image" in options.what:
        for preset in options.presets:
            how = build.Sampling(**build.PRESETS[preset][part.name])  # type: ignore[arg-type]
            if part.config.model.upsampler:
                how = dataclasses.replace(how, guidance_scale=1.0, temperature=0.997)
            call, steps = networks.draw(part, first, how)
            yield row(f"{preset}, {steps} steps, batch {len(first.t)}", call, 0.0, {}, None)


def agreement(name: str, call: Callable, theirs: Reference, x: Inputs, dtype: str) -> float:
    """The largest difference between one evaluation's outputs and the reference's.

    Raises:
        InputError: it is more than rounding explains, so that times would not compare.
    """
    ours = np.concatenate([np.asarray(a, np.float32) for a in call()[:2]], axis=-1)
    other = theirs.output(theirs.evaluate(x, cached=False)())
    error = float(np.abs(ours - other).max() / max(1.0, float(np.abs(other).max())))
    coarser = "float16" if theirs.device == "cuda" else "float32"
    tolerance = max(TOLERANCES[dtype], TOLERANCES[coarser])
    if not error <= tolerance:
        raise InputError(
            f"{name}: outputs differ from the reference's by {error:.2g} where {tolerance:.2g} is "
            "allowed, so their times do not compare."
        )
    return error


def count(parts: Sequence[Part], options: Options, *, first: bool = True) -> int:
    """How many calls `rows` will tell `tick` of."""
    sides = {"text": 2, "evaluation": 3, "gradient": 2} if options.reference else {}
    number = {"evaluation": len(options.batch_sizes), "image": len(options.presets)}
    of_part = sum(
        sides.get(what, 1) * number.get(what, 1) for what in options.what if what != "limits"
    )
    total = of_part * len(parts) + 2 * (first and "limits" in options.what)
    return total * (options.rounds + 1)


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = jax.devices()[0].memory_stats() or {}
    return {
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "jax": jax.__version__,
        "peak_host_bytes": peak * (1 if sys.platform == "darwin" else 1024),
        "peak_device_bytes": memory.get("peak_bytes_in_use"),
    }
