"""The rows of the benchmark, and how each is measured."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np

from glide_jax import checks
from glide_jax.benchmarks import machine, networks, operations, reference
from glide_jax.benchmarks.networks import Inputs, Part
from glide_jax.benchmarks.reference import Reference
from glide_jax.benchmarks.timing import Times, in_turn
from glide_jax.errors import InputError
from glide_jax.model_dir import reading, schema
from glide_jax.networks import ways, zoo
from glide_jax.sampling import settings
from glide_jax.types import Params

Load: TypeAlias = Callable[[], tuple[schema.StageConfig, Params]]
Others: TypeAlias = Callable[[Reference], dict[str, Callable[[], Any]]]

OURS, THEIRS, CACHED = "glide_jax", "reference", "reference, text cached"
THROUGHOUT = "guided at every step"
USUAL = ("limits", "text", "evaluation", "gradient", "image")
WHAT = (*USUAL, "interval", "operations", "ways")
# What a GPU is asked by `ways`; the options of XLA are its names for what it may choose.
WAYS = ("attention=jax", "attention=cudnn", "norm=dtype", "norm=dtype+attention=cudnn",
        "xla_gpu_enable_command_buffer=", "xla_gpu_force_conv_nhwc=true",
        "xla_gpu_force_conv_nchw=true", "xla_gpu_enable_triton_gemm=false",
        "xla_gpu_cudnn_gemm_fusion_level=2",
        "xla_gpu_enable_latency_hiding_scheduler=true")  # fmt: skip
_PROGRAMS = {"an evaluation": networks.evaluation, "a gradient": networks.gradient_program}
# Largest difference of outputs of size 1 that is still the same function, by the coarser dtype.
TOLERANCES = {"float32": 2e-4, "bfloat16": 0.15, "float16": 0.05}


@dataclasses.dataclass(frozen=True)
class Options:
    """Which rows are measured, and how."""

    what: tuple[str, ...] = USUAL
    batch_sizes: tuple[int, ...] = (1, 2, 8)
    rounds: int = 5
    dtype: str = "float32"
    convolutions: str = "auto"
    presets: tuple[str, ...] = ("fast",)
    reference: pathlib.Path | None = None
    ways: tuple[str, ...] = WAYS

    def __post_init__(self):
        """Checks every value."""
        for what in self.what:
            checks.one_of("what", what, WHAT)
        for preset in self.presets:
            checks.one_of("preset", preset, tuple(settings.PRESETS))
        for way in self.ways:
            ways.parse(way)
        checks.one_of("dtype", self.dtype, tuple(TOLERANCES))
        checks.whole("rounds", self.rounds, 1, 10_000)
        for size in self.batch_sizes:
            checks.whole("batch_size", size, 1, 4096)


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured thing."""

    name: str
    times: dict[str, Times]  # by side
    flops: float  # those of the plain algorithm, whichever ran
    error: float | None = None  # largest difference of the sides' outputs, relative to their size
    operations: Mapping[str, float] | None = None  # seconds of ours by kind
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)  # why, by side

    def tflops(self, side: str = OURS) -> float:
        """Speed in the plain algorithm's operations, in the median round."""
        return self.flops / self.times[side].median / 1e12


def loads(model: str | None, models: pathlib.Path, stages: Sequence[str]) -> dict[str, Load]:
    """How to load each network of a model directory, or of the released sizes at random weights.

    Args:
        model: a directory or name; None for random weights.
        models: the folder of models by name.
        stages: "base", "upsample" or both; a stage that the model lacks is left out.

    Raises:
        InputError: there is no such model.
    """
    if model is None:
        return {name: functools.partial(_released, name) for name in stages}
    found = reading.read_model(reading.find_model(model, models)).stages
    return {name: functools.partial(found.__getitem__, name) for name in stages if name in found}


def _released(name: str) -> tuple[schema.StageConfig, Params]:
    schedule = {"base": "squaredcos_cap_v2", "upsample": "linear"}[name]
    config = schema.StageConfig(zoo.named(name), schedule)
    return config, networks.random_params(config.model)


def rows(loads: Mapping[str, Load], options: Options, tick: Callable[[], Any]) -> Iterator[Row]:
    """Measures one row after another, one network in memory at a time.

    Args:
        loads: the networks, see `loads`.
        options: what to measure.
        tick: called after every timed call.

    Raises:
        InputError: the reference cannot be run, or its outputs differ from ours.
    """
    if options.reference is not None:
        reference.find(options.reference)  # its errors come before all measurements
    if "limits" in options.what:
        for name, (call, flops) in machine.limits(options.dtype).items():
            yield Row(f"limit: {name}", in_turn({OURS: call}, options.rounds, tick=tick), flops)
    if set(options.what) != {"limits"}:
        for name, load in loads.items():
            yield from _of_network(name, load, options, tick)


def _of_network(name: str, load: Load, options: Options, tick: Callable[[], Any]) -> Iterator[Row]:
    part = networks.part(name, *load(), options.dtype, options.convolutions)
    theirs = None if options.reference is None else Reference(options.reference, part)

    def row(
        what: str, call: Callable, flops: float, others: Others = lambda _: {}, error=None
    ) -> Row:
        sides = {OURS: call} | ({} if theirs is None else others(theirs))
        return Row(f"{name}: {what}", in_turn(sides, options.rounds, tick=tick), flops, error)

    first = networks.inputs(part.config.model, min(options.batch_sizes))
    size = f"batch {len(first.t)}"
    if "text" in options.what:
        of_theirs: Others = lambda theirs: {THEIRS: theirs.encode(first)}
        yield row(f"text, {size}", *networks.encode(part, first), of_theirs)
    if "evaluation" in options.what:
        for batch in options.batch_sizes:
            yield _evaluation(part, theirs, networks.inputs(part.config.model, batch), row, options)
    if "operations" in options.what:
        for what, make in _PROGRAMS.items():
            program, args, number = make(part, first)
            run = functools.partial(_finished, program, args)
            timed = row(f"operations of {what}, {size}", run, number)
            spent = operations.seconds(program, *args, rounds=options.rounds)
            yield dataclasses.replace(timed, operations=spent)
    if "ways" in options.what:
        for what, make in _PROGRAMS.items():
            yield from _by_ways(what, make, part, first, options, tick)
    if "gradient" in options.what:
        of_theirs = lambda theirs: {THEIRS: theirs.gradient(first)}
        yield row(f"gradient, {size}", *networks.gradient(part, first), of_theirs)
    if "image" in options.what:
        for preset in options.presets:
            how = settings.StageSettings(**settings.PRESETS[preset][name])
            if part.config.model.upsampler:
                how = dataclasses.replace(how, guidance_scale=1.0, temperature=0.997)
            call, steps = networks.draw(part, first, how)
            yield row(f"{preset}, {steps} steps, {size}", call, 0.0)
    if "interval" in options.what and not part.config.model.upsampler:
        for preset in options.presets:
            whole = settings.StageSettings(**settings.PRESETS[preset]["base"])
            call, steps = networks.draw(part, first, networks.half_guided(part, whole))
            sides = {OURS: call, THROUGHOUT: networks.draw(part, first, whole)[0]}
            what = f"{preset}, {steps} steps, half of them guided, {size}"
            yield Row(f"base: {what}", in_turn(sides, options.rounds, tick=tick), 0.0)


def _finished(program: Callable, args: tuple) -> Any:
    return jax.block_until_ready(program(*args))


def _by_ways(
    what: str, make: Callable[..., tuple], part: Part, x: Inputs, options: Options,
    tick: Callable[[], Any],
) -> Iterator[Row]:  # fmt: skip
    """Each way in turn with the default one.

    A way that does not compile, or computes other numbers, is told and not timed.
    """
    program, args, flops = make(part, x)
    default = functools.partial(_finished, program, args)
    flat = lambda out: np.concatenate([np.float32(a).ravel() for a in jax.tree.leaves(out)])
    right, size = flat(default()), f"batch {len(x.t)}"
    for way in options.ways:
        sides, refused, error = {OURS: default}, {}, None
        try:
            other, its, _ = make(part, x, ways.parse(way))
            call = functools.partial(_finished, other, its)
            error = float(np.abs(flat(call()) - right).max() / max(1e-30, np.abs(right).max()))
        except Exception as fault:  # whatever a compiler says of what it lacks
            refused[way] = checks.printable(str(fault).split("\n")[0])[:200]
        else:
            if error <= TOLERANCES[options.dtype]:
                sides[way] = call
            else:
                refused[way] = f"its numbers are {error:.2g} off, relative to the largest"
        times = in_turn(sides, options.rounds, tick=tick)
        for _ in range(len(refused) * (options.rounds + 1)):
            tick()
        yield Row(f"{part.name}: {what} by {way}, {size}", times, flops, error, refused=refused)


def _evaluation(
    part: Part, theirs: Reference | None, x: Inputs, row: Callable[..., Row], options: Options
) -> Row:
    call, flops = networks.evaluate(part, x)
    error = None if theirs is None else agreement(part.name, call, theirs, x, options.dtype)
    of_theirs: Others = lambda theirs: {
        THEIRS: theirs.evaluate(x, cached=False),
        CACHED: theirs.evaluate(x, cached=True),
    }
    return row(f"evaluation, batch {len(x.t)}", call, flops, of_theirs, error)


def agreement(name: str, call: Callable, theirs: Reference, x: Inputs, dtype: str) -> float:
    """The largest difference between one evaluation's outputs and the reference's.

    Args:
        name: the network's, for the error.
        call: our evaluation, which returns (eps, var_frac, ...).
        theirs: the reference.
        x: the inputs of both.
        dtype: our compute dtype.

    Returns:
        The difference, relative to the reference's largest output where that is above 1.

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


def count(networks: Collection[str], options: Options) -> int:
    """How often `rows` will call `tick`, for networks of these names."""
    sides = {"text": 2, "evaluation": 3, "gradient": 2} if options.reference else {}
    number = {"evaluation": len(options.batch_sizes), "image": len(options.presets)}
    number["operations"] = len(_PROGRAMS)
    number["ways"] = 2 * len(_PROGRAMS) * len(options.ways)
    of_each = [what for what in options.what if what not in ("limits", "interval")]
    total = len(networks) * sum(sides.get(what, 1) * number.get(what, 1) for what in of_each)
    total += 2 * ("limits" in options.what)
    total += 2 * len(options.presets) * ("interval" in options.what and "base" in networks)
    return total * (options.rounds + 1)
