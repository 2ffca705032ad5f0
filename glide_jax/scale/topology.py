"""Programs compiled for TPU pods and GPUs that are not here, and the compiler's report on them."""

import math
import re
import time
from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.mesh import partition
from glide_jax.model_dir import schema
from glide_jax.networks import zoo
from glide_jax.sampling import cascade, settings, stages
from glide_jax.scale import gpus
from glide_jax.training import flops
from glide_jax.training.plan import Plan, on_mesh
from glide_jax.types import Cond

# What a description that is refused may have lacked.
_CUDA = "JAX's CUDA plugin (pip install jax-cuda12-plugin jax-cuda12-pjrt, of jax's version)"
_LIBTPU = (
    "libtpu (pip install 'glide-jax[tpu]') and a name such as v5e:2x2, v4:4x4x4 or v5p:4x4x4; "
    f"GPUs are {', '.join(gpus.GPUS)}, as in h100:8"
)
_BITS = {"pred": 8, "s4": 4, "u4": 4} | {
    f"{kind}{bits}": bits for kind in ("f", "bf", "s", "u", "c") for bits in (8, 16, 32, 64)
}
_COLLECTIVE = re.compile(
    r" = (?P<result>\S.*?) (?P<kind>all-gather|all-reduce|reduce-scatter|all-to-all"
    r"|collective-permute)(?P<start>-start)?\("
)
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
# The fraction of a collective's bytes that each device sends on a ring of n.
_SENT = {
    "all-gather": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n,
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "collective-permute": lambda n: 1.0,
}


class Traffic(NamedTuple):
    """Collectives of one kind in a program; those in a loop are counted once."""

    count: int
    bytes: int  # on their largest side: the gathered result, or the summed operand
    sent: float  # bytes by each device on a ring


class Compiled(NamedTuple):
    """The costs of a program for a device, as its compiler reports them."""

    seconds: float  # to compile
    arguments: int  # bytes of a device: parameters, moments, averages, batch
    temporary: int  # activations, gathered parameters, gradients
    code: int
    peak: int
    accessed: float  # bytes read and written in a run of the program
    flops: float  # on all devices, counted in the traced program
    collectives: dict[str, Traffic]
    kernels: dict[str, int]  # a GPU's: fusions by kind, and calls of libraries by name


def devices(name: str, slices: int = 1) -> list[Any]:
    """The devices of a topology, such as "v5e:16x16" or "h100:8", without them.

    Args:
        name: a TPU's name and shape, or a GPU's and how many there are in one host.
        slices: how many TPU slices.

    Raises:
        InputError: the compiler's plugin is missing, or knows no such topology.
    """
    kind, _, count = name.lower().partition(":")
    more: dict[str, Any]
    if kind in gpus.GPUS:
        number = checks.whole("topology's number", count or "1", 1, 64)
        platform, needs = "cuda", _CUDA
        more = {"target_config": gpus.description(kind), "topology": f"1x1x{number}"}
    else:
        platform, needs = "tpu", _LIBTPU
        more = {"num_slices": slices} if slices > 1 else {}
        if name.startswith("v4:"):  # both cores of a chip as one device, as programs run on it
            more["chip_config_name"] = "megacore"
    try:
        return topologies.get_topology_desc(name, platform=platform, **more).devices
    except (RuntimeError, NotImplementedError, ValueError) as error:
        why = " ".join(str(error).split())[:200].rstrip(".")
        raise InputError(
            f"topology {name!r} cannot be described ({why}); it needs {needs}."
        ) from None


def train_step(plan: Plan) -> Compiled:
    """The training step, compiled for the plan's mesh."""
    return _compile(plan.lower(), plan.flops())


def sampler(plan: Plan, name: str = "ddpm", dtype: str | None = None) -> Compiled:
    """The loop of a guided sampler over a batch of the plan's size, with its parameters' places.

    FLOPs and traffic are those of one step, since the number of steps is not in the program.

    Args:
        plan: gives the parameters' places, the mesh and the batch.
        name: the sampler's.
        dtype: the network computes in it; by default the run's.

    Raises:
        InputError: the plan trains a CLIP.
    """
    if not isinstance(plan.config.part, schema.StageConfig):
        raise InputError("objective is 'clip', and a CLIP draws nothing; give a config that does.")
    model: zoo.ModelConfig = plan.config.part.model
    around = lambda apply: on_mesh(apply, plan.mesh, plan.min_size)
    stage = stages.stage(plan.config.part, dtype or plan.config.train.dtype, around)
    everywhere = partition.replicated(plan.mesh)
    here: Any = lambda tree, place: jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), sharding=place), tree
    )
    batch, params = plan.batch_like, plan.state_like.params
    rows = batch.image.sharding  # type: ignore[union-attr]
    size = plan.config.batches.batch_size
    texts = [
        jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype)
        for n in (size, 1)
        for x in (batch.tokens, batch.mask)
    ]
    text, null = (jax.eval_shape(stage.encode, params, *pair) for pair in (texts[:2], texts[2:]))
    x_t = jax.ShapeDtypeStruct(
        (size, model.image_size, model.image_size, 3), jnp.float32, sharding=rows
    )
    keys: Any = jax.ShapeDtypeStruct((size,), jax.random.key(0).dtype, sharding=rows)
    cond = Cond(here(text, rows), low_res=batch.low_res)
    defaults = settings.from_config(plan.config.part.sampling, "config.sampling")
    schedule = cascade.schedule_of(stage, settings.StageSettings(defaults.steps))
    knobs = jax.tree.map(jnp.float32, settings.DEFAULTS.traced())
    history = here(jax.eval_shape(lambda x: cascade.fresh_history(name, knobs, x), x_t), rows)
    chain = jax.tree.map(jnp.asarray, cascade.Chain(schedule))
    unguided = None if model.guidance else here(null, everywhere)  # a student has it built in
    inputs = cascade.Inputs(params, keys, cond, unguided)
    others = here((chain, knobs, (jnp.int32(0), jnp.int32(0))), everywhere)
    arguments = (x_t, history, inputs, *others)
    program = cascade.advance_program(None)
    fixed = {"network": stage.network, "sampler": name}
    work = flops.count(lambda *a: program(*a, **fixed), *arguments)
    return _compile(program.lower(*arguments, **fixed), work)


def _compile(lowered: jax.stages.Lowered, work: float) -> Compiled:
    began = time.monotonic()
    compiled = lowered.compile()
    seconds, memory = time.monotonic() - began, compiled.memory_analysis()
    costs, text = compiled.cost_analysis() or {}, compiled.as_text() or ""
    size = lambda name: int(getattr(memory, f"{name}_in_bytes", 0) or 0)
    return Compiled(
        seconds=seconds,
        arguments=size("argument_size"),
        temporary=size("temp_size"),
        code=size("generated_code_size"),
        peak=size("peak_memory"),
        accessed=float(costs.get("bytes accessed", math.nan)),
        flops=work,
        collectives=collectives(text),
        kernels=kernels(text),
    )


def kernels(program: str) -> dict[str, int]:
    """How often a GPU's compiled program starts each kind of kernel, the most frequent first.

    Fusions are those of the program's computations that are no fusion themselves; `kInput` ends in
    a reduction, `kLoop` is elementwise, and `kCustom` is a product or convolution in Triton's
    language or another template. Calls of libraries have their target's name, such as
    `__cudnn$convForward`. Those in a loop are counted once.
    """
    if "__cublas" not in program and "__cudnn" not in program and "kind=kCustom" not in program:
        return {}  # no GPU's
    calls = re.findall(r'custom-call\(.*?custom_call_target="([^"]+)"', program)
    fusions = re.findall(r" fusion\(.*?kind=(k\w+)", program)
    named = [f"fusions ({kind})" for kind in fusions]
    return dict(Counter([*calls, *named]).most_common())


def collectives(program: str) -> dict[str, Traffic]:
    """The collectives in a compiled program's text, by kind.

    A TPU's program spells reduce-scatter as a computation of that name around an all-reduce.
    """
    found: dict[str, Traffic] = {}
    inside = ""
    for line in program.splitlines():
        if line.startswith(("%", "ENTRY")):
            inside = line
        match = _COLLECTIVE.search(line)
        if match is None:
            continue
        kind, n = match["kind"], _group(line)
        size = sum(_bytes(*array) for array in _ARRAY.findall(match["result"]))
        if inside.startswith("%all-reduce-scatter"):
            kind = "reduce-scatter"
        elif kind == "reduce-scatter":
            size *= n
        if match["start"] and kind == "all-gather":  # the result holds the operands too
            size = size * n // (n + 1)
        elif match["start"] and kind == "collective-permute":
            size //= 2
        count, total, sent = found.get(kind, Traffic(0, 0, 0.0))
        found[kind] = Traffic(count + 1, total + size, sent + size * _SENT[kind](n))
    return found


def _bytes(kind: str, shape: str) -> int:
    return _BITS.get(kind, 0) * math.prod(int(n) for n in shape.split(",") if n) // 8


def _group(line: str) -> int:
    """The number of devices that take part together, from any of the three spellings."""
    if named := re.search(r"replica_groups=mesh\[(.*?)\] ?\{(.*?)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]<=", line):
        return int(iota[2])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(listed[1].split(","))
    return 2  # pairs of a permutation
