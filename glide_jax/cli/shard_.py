"""`glide-jax shard`: the places of a run's arrays on a mesh, and whether they are right and fit."""

import math
import os
from typing import TYPE_CHECKING, Any

import click

from glide_jax.cli.common import PLACE, json_option, result, say
from glide_jax.cli.train_ import overrides
from glide_jax.errors import InputError

if TYPE_CHECKING:
    from glide_jax.training.config import TrainConfig
    from glide_jax.training.plan import Plan

_VIRTUAL = 8  # devices of --check


@click.command("shard", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--config", type=PLACE, required=True, help="See `glide-jax train`.")
@click.option("--topology", help="Devices that need not be here: v5e:16x16, v4:4x4x4 (needs "
              "libtpu); a100, h100:8, h200 (needs JAX's CUDA plugin).")  # fmt: skip
@click.option("--devices", type=int, help="How many devices there are, of any kind.")
@click.option("--check", is_flag=True,
              help="Compare every gradient of a reduced model with one device's.")  # fmt: skip
@click.option("--compile", "compiling", is_flag=True,
              help="Compile for the topology: memory, collectives, predicted time.")  # fmt: skip
@click.option("--what", default="train", show_default=True, help="To compile: train, or sampler.")
@click.option("--effort", default=0.0, show_default=True,
              help="The compiler's effort, -1 to 1; -1 is several times quicker.")  # fmt: skip
@click.option("--summary", is_flag=True, help="Totals without the table.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    config: str,
    topology: str | None,
    devices: int | None,
    check: bool,
    compiling: bool,
    what: str,
    effort: float,
    summary: bool,
) -> None:
    """Show where a run's arrays lie: `glide-jax shard --config base_64 --devices 64`.

    Any field can be given, as --config.mesh.fsdp=16. --check proves that gradients on such a mesh
    are those of one device; do it before a long run. Nothing here needs the devices themselves.
    """
    if what not in ("train", "sampler"):
        raise InputError(f"what is {what!r}; it must be train or sampler.")
    if compiling and topology is None:
        raise InputError("--compile needs --topology, such as v5e:16x16.")
    if topology is not None and devices is not None:
        raise InputError("--topology and --devices are both given; a topology has its own number.")
    import jax

    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else libtpu asks a cloud that is not there
    os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")  # else it wants a driver
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # and notes that there is none
    jax.config.update("jax_platforms", "cpu")  # accelerators that are here are left to others
    if check:
        jax.config.update("jax_num_cpu_devices", _VIRTUAL)
    _set_effort(effort)

    from glide_jax.scale import topology as pods
    from glide_jax.training.config import read_config

    read = read_config(config, overrides(ctx.args))
    described = None if topology is None else pods.devices(topology, read.mesh.slices)
    plan = _plan(read, described, devices)
    if not check or compiling:
        _table(plan, summary)
    if check:
        _check(read, tuple(plan.mesh.shape.values()))
    if compiling:
        _compile(plan, topology or "", what)


def _set_effort(effort: float) -> None:
    """Sets how hard the compiler works; 0 leaves its defaults."""
    import jax

    if effort == 0.0:
        return
    if hasattr(jax.config, "jax_exec_time_optimization_effort"):
        jax.config.update("jax_exec_time_optimization_effort", effort)
        jax.config.update("jax_memory_fitting_effort", effort)
    else:  # jax 0.12 has four levels instead, of which O2 is the default
        level = "O0" if effort <= -0.5 else "O1" if effort < 0.0 else "O3"
        jax.config.update("jax_optimization_level", level)
        jax.config.update("jax_memory_fitting_level", level)


def _plan(config: "TrainConfig", described: list[Any] | None, devices: int | None) -> "Plan":
    """The run on a topology's devices, or on so many, or on as many as its mesh names."""
    import jax.numpy as jnp

    from glide_jax.scale import placement
    from glide_jax.training.plan import make_plan, mesh_of

    if described is None:
        m = config.mesh
        mesh = placement.abstract_mesh(config, devices or max(m.data, 1) * m.fsdp * m.tensor)
    else:
        mesh = mesh_of(config, described)
    # The empty prompt's tokens decide nothing about shapes and programs.
    return make_plan(config, jnp.zeros(config.model.text_context, jnp.int32), mesh)


def _table(plan: "Plan", summary: bool) -> None:
    from glide_jax.scale import placement

    shape = " x ".join(f"{name} {n}" for name, n in plan.mesh.shape.items())
    rows, totals = placement.rows(plan.state_like.params), placement.totals(plan)
    if not summary:
        wide = max(len(row.name) for row in rows)
        result(f"{'parameter':{wide}}  {'shape':20}  {'spec':22}  bytes per device")
        for row in rows:
            sizes = " x ".join(map(str, row.shape)) or "scalar"
            spec = ", ".join(axis or "-" for axis in row.spec) if any(row.spec) else "whole"
            line = f"{row.name:{wide}}  {sizes:20}  {spec:22}  {row.bytes:,}"
            result(line, {"parameter": row.name, **row._asdict()})
        result("")
    split = sum(any(row.spec) for row in rows)
    count = sum(math.prod(row.shape) for row in rows)
    sums = {name: {"all": whole, "each": each} for name, (whole, each) in totals.items()}
    numbers = {"mesh": dict(plan.mesh.shape), "parameters": count, "split": split, "bytes": sums}
    result(
        f"{plan.config.name} ({plan.config.stage}) on {plan.mesh.size} devices: {shape}",
        {"config": plan.config.name, "stage": plan.config.stage, **numbers},
    )
    result(f"{count:,} parameters in {len(rows)} arrays, of which {split} are split")
    for name, (whole, each) in totals.items():
        result(f"{name:11} {whole / 2**30:9.3f} GiB in all, {each / 2**30:8.3f} GiB per device")


def _check(config: "TrainConfig", shape: tuple[int, ...]) -> None:
    import jax

    from glide_jax.mesh import partition
    from glide_jax.scale import gradients

    small = gradients.reduced_mesh(shape, _VIRTUAL)
    mesh = partition.make_mesh(*small, devices=jax.devices()[: math.prod(small)])
    say(f"check: a reduced {config.name} on {math.prod(small)} virtual devices, as "
        f"{' x '.join(map(str, small))}, beside one")  # fmt: skip
    loss, found = gradients.differences(gradients.reduced(config, small[-1]), mesh)
    wrong = [each for each in found if each.wrong]
    worst = max(found, key=lambda each: each.relative)
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(found)} gradients on the mesh {' x '.join(map(str, small))} are "
            f"not those of one device, {worst.name} by {worst.relative:.2g} of its size; do not "
            "train on such a mesh."
        )
    result(
        f"check: loss within {loss:.1e}, each of {len(found)} gradients within "
        f"{worst.relative:.1e} of one device's",
        {"gradients": len(found), "loss_within": loss, "gradients_within": worst.relative},
    )


def _compile(plan: "Plan", topology: str, what: str) -> None:
    from glide_jax.scale import roofline
    from glide_jax.scale import topology as pods

    say(f"compiling the {what} program for {topology}")
    report = (pods.train_step if what == "train" else pods.sampler)(plan)
    n, chip = plan.mesh.size, roofline.chip(topology)
    sent = sum(traffic.sent for traffic in report.collectives.values())
    again = 4 / 3 if what == "train" and plan.config.train.remat == "blocks" else 1.0
    accessed = 0.0 if math.isnan(report.accessed) else report.accessed
    found = roofline.predict(roofline.Load(report.flops * again / n, accessed, sent), chip)
    traffics = {kind: traffic._asdict() for kind, traffic in report.collectives.items()}
    result(
        f"compiled in {report.seconds:.0f} s; of a device, by the compiler's report:",
        {**report._asdict(), "collectives": traffics, "predicted": found._asdict()},
    )
    for name in ("arguments", "temporary", "code", "peak"):
        result(f"  {name:11} {getattr(report, name) / 2**30:8.3f} GiB")
    if accessed:
        result(f"  {'accessed':11} {accessed / 2**30:8.1f} GiB")
    else:
        result("  the bytes that it reads and writes are not in this compiler's report")
    if report.kernels:
        listed = ", ".join(f"{count} of {kind}" for kind, count in report.kernels.items())
        result(f"kernels: {listed}")
    result("collectives, of a device (those in loops once):")
    for kind, traffic in report.collectives.items() or {"none": None}.items():
        if traffic is None:
            result("  none")
        else:
            result(f"  {kind:18} {traffic.count:6} of {traffic.bytes / 2**30:8.3f} GiB, "
                  f"{traffic.sent / 2**30:8.3f} GiB sent")  # fmt: skip
    result(f"predicted, not measured, at {roofline.EFFICIENCY:.0%} of {chip.flops / 1e12:.0f} "
          f"TFLOP/s, {chip.bandwidth / 1e9:.0f} GB/s of memory, {chip.links / 1e9:.0f} GB/s of "
          "links:")  # fmt: skip
    result(f"  {report.flops / 1e12:.4g} TFLOP in all; compute {found.compute:.3g} s, memory "
          f"{found.memory:.3g} s, network {found.network:.3g} s")  # fmt: skip
    useful = [
        roofline.mfu(report.flops / n, seconds, chip) for seconds in (found.best, found.worst)
    ]
    result(f"  {found.best:.3g} to {found.worst:.3g} s a step, limited by {found.limit}; MFU "
          f"{useful[0]:.0%} to {useful[1]:.0%}")  # fmt: skip
    if what == "train":
        steps = plan.config.train.num_steps
        days = [seconds * steps / 86400 for seconds in (found.best, found.worst)]
        result(f"  {steps:,} steps in {days[0]:.3g} to {days[1]:.3g} days, "
              f"{report.flops * steps:.3g} FLOP")  # fmt: skip
