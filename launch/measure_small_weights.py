"""What weights of fewer bytes cost in exactness, and what a program spares in tracing.

    python launch/measure_small_weights.py [--model MODEL] [--stages base,upsample]

By default the released sizes with random weights, one evaluation at batch 1. Errors are of eps and
of the whole output, relative to the root mean square of float32's.
"""

import pathlib
import tempfile
import time

import click
import jax
import numpy as np

from glide_jax import build, cascade
from glide_jax.benchmarks import networks, running
from glide_jax.build import programs, stored
from glide_jax.diffusion import editing, solvers
from glide_jax.types import Cond


@click.command()
@click.option("--model", help="A model directory or name.")
@click.option("--stages", default="base,upsample", show_default=True)
def main(model: str | None, stages: str) -> None:
    """Prints two tables in Markdown."""
    folder = pathlib.Path("~/.cache/glide_jax/models").expanduser()
    loads = running.loads(model, folder, stages.split(","))
    loaded = {name: load() for name, load in loads.items()}
    print("| network | weights | MB | rms error of eps | largest error |\n|---|---|---:|---:|---:|")
    for name, (config, params) in loaded.items():
        wanted = outputs(config, params, "float32")
        for weights in stored.CHOICES:
            small = stored.packed(params, weights)
            found = outputs(config, small, weights)
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(small)) / 1e6
            rms = lambda a: float(np.sqrt(np.square(a).mean()))
            error = found - wanted
            relative = rms(error[..., :3]) / rms(wanted[..., :3])
            print(f"| {name} | {weights} | {size:,.1f} | {relative:.2g} | "
                  f"{np.abs(error).max() / rms(wanted):.2g} |", flush=True)  # fmt: skip
    print("\n| network | traced, s | by a program, s | the file, KB |\n|---|---:|---:|---:|")
    configs = {name: config for name, (config, _) in loaded.items()}
    plain = {name: build.stage(config, "float32") for name, config in configs.items()}
    params = {name: leaves for name, (_, leaves) in loaded.items()}
    with tempfile.TemporaryDirectory() as temporary:
        path = pathlib.Path(temporary) / "program"
        programs.write(path, configs, plain, params, "float32")
        began = time.perf_counter()
        read = programs.read(path, configs, plain, params, "float32")
        reading = time.perf_counter() - began
        for name in configs:
            seconds = [traced(stage[name], params[name], configs[name]) for stage in (plain, read)]
            size = path.stat().st_size / 1e3
            print(f"| {name} | {seconds[0]:.2f} | {seconds[1] + reading:.2f} | {size:,.0f} |")


def outputs(config: build.StageConfig, params: object, weights: str) -> np.ndarray:
    """eps and var_frac of one evaluation on noise."""
    stage = build.stage(config, "float32", stored.around(weights))
    x = networks.inputs(config.model, 1)

    def evaluate(params, x):
        cond = Cond(stage.encode(params, x.tokens, x.mask), low_res=x.low_res)
        return stage.network(params)(x.x_t, x.t, cond)[:2]

    return np.concatenate(jax.device_get(jax.jit(evaluate)(params, x)), axis=-1)


def traced(stage: cascade.Stage, params: object, config: build.StageConfig) -> float:
    """Seconds until a guided chain's program is ready for the compiler."""
    x = networks.inputs(config.model, 1)
    text = jax.eval_shape(stage.encode, params, x.tokens, x.mask)
    cond = Cond(text, low_res=x.low_res)
    keys = cascade.image_keys(0, np.arange(1), 0)
    schedule = cascade.schedule_of(stage, "20", "logsnr")
    history, zero = solvers.fresh("unipc", x.x_t), np.int32(0)
    resampling = jax.tree.map(np.int32, editing.Resampling())
    began = time.perf_counter()
    cascade.steps(None).lower(
        params, x.x_t, history, keys, cond, text, schedule, cascade.DEFAULTS, cascade.NO_GUIDES,
        zero, resampling, zero, zero, network=stage.network, sampler="unipc",
    )  # fmt: skip
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
