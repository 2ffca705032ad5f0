"""Meshes of eight virtual devices, beside one device; prints what differs, as JSON.

python -m tests.eight_devices quick (a mesh of all three axes), or all, trap, training, sampler
"""

import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from glide_jax.mesh import partition
from glide_jax.scale import gradients, topology
from glide_jax.training import plan as planning
from glide_jax.training.config import read_config

ROOT = pathlib.Path(__file__).parents[1]
MESHES = ((8, 1, 1), (1, 8, 1), (2, 2, 2), (2, 4, 1), (4, 1, 2), (1, 2, 4))
STEPS, BATCH = 3, 16
# A base without the second level: one kind of each layer.
ONE_LEVEL = ["model.channel_mult=1", "model.attention=64"]


def in_a_process(part: str) -> dict:
    """A part's report, from a process that has the devices."""
    command = [sys.executable, "-m", "tests.eight_devices", part]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def config(name: str, *changes: str, tensor: int = 4):
    small = gradients.reduced(read_config(name, changes), tensor)
    return dataclasses.replace(small, batches=dataclasses.replace(small.batches, batch_size=BATCH))


def alone():
    return partition.make_mesh(devices=jax.devices()[:1])


def compared(small, meshes) -> dict:
    wanted = gradients.gradients(small, alone(), BATCH)
    report = {}
    for shape in meshes:
        found = gradients.gradients(small, partition.make_mesh(*shape), BATCH)
        loss, each = gradients.compare(found, wanted)
        wrong = [difference.name for difference in each if difference.wrong]
        worst = max(difference.relative for difference in each)
        report["x".join(map(str, shape))] = {"loss": loss, "worst": worst, "wrong": wrong}
    return report


def quick() -> dict:
    return compared(config("base_64", *ONE_LEVEL), [(2, 2, 2)])


def every() -> dict:
    names = ("base_64", "upsample_256_inpaint", "clip_64")
    return {name: compared(config(name), MESHES) for name in names}


def trap() -> dict:
    """Every kernel over both axes, and nothing said about what is between the layers."""

    def everything(path, shape, sizes, min_size):
        two = len(shape) > 1 and all(n % 2 == 0 for n in shape[-2:])
        return P(*(None,) * (len(shape) - 2), "fsdp", "tensor") if two else P()

    partition.partition = everything
    small = config("base_64")
    report = {"cured": compared(small, [(2, 2, 2)])["2x2x2"]}
    planning.on_mesh = lambda apply, mesh, min_size: apply
    return report | {"bare": compared(small, [(2, 2, 2)])["2x2x2"]}


def training() -> dict:
    """A few whole steps: what is split, what is sent, and the losses."""
    # Plain descent: Adam's first steps are signs, also of gradients that are only rounding.
    changes = ["optim.name=sgd", "optim.lr=1e-2", "optim.warmup_steps=0"]
    small = config("base_64", *ONE_LEVEL, *changes)
    losses, report = {}, {}
    for name, mesh in {"one": alone(), "2x4x1": partition.make_mesh(2, 4)}.items():
        plan = planning.make_plan(small, jnp.zeros(6, jnp.int32), mesh, gradients.SMALL)
        step = plan.lower().compile()
        places = jax.tree.map(lambda x: x.sharding, plan.state_like)
        state = jax.jit(lambda p: plan.create(p), out_shardings=places)(  # noqa: B023
            gradients.noise(plan.state_like.params)
        )
        losses[name] = []
        for k in range(STEPS):
            batch = gradients.batch_of(plan, seed=k)
            state, metrics = step(
                state, batch, jax.device_put(jax.random.key(0), partition.replicated(mesh))
            )
            losses[name].append(float(metrics["loss"]))
        report = {
            "split": sum(not x.sharding.is_fully_replicated for x in jax.tree.leaves(state)),
            "collectives": sorted(topology.collectives(step.as_text())),
        }
    gap = np.abs(np.array(losses["2x4x1"]) / np.array(losses["one"]) - 1).max()
    return report | {"loss": float(gap)}


def sampler() -> dict:
    """What guided samplers send: over `data` alone, and with parameters that are split."""
    found = {}
    for shape in ((8, 1, 1), (1, 8, 1)):
        small = config("base_64", *ONE_LEVEL)
        mesh = partition.make_mesh(*shape)
        plan = planning.make_plan(small, jnp.zeros(6, jnp.int32), mesh, gradients.SMALL)
        found["x".join(map(str, shape))] = sorted(topology.sampler(plan, "ddim").collectives)
    return found


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    parts = {"quick": quick, "all": every, "trap": trap, "training": training, "sampler": sampler}
    print(json.dumps(parts[sys.argv[1]]()))
