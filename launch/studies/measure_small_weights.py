"""The errors and savings of weights of fewer bytes, and the start-up time a program saves.

python -m launch.studies.measure_small_weights [--model MODEL] [--stages base,upsample]
python -m launch.studies.measure_small_weights --model shapes --stages base --memory \
    [--topology v5e:2x2]

By default the released sizes with random weights, one evaluation at batch 1. Errors are of eps and
of the whole output, relative to the root mean square of float32's. --memory compiles a guided
chain for every kind of weights and prints the compiler's report alone: for this device in float32,
or with --topology for one chip of a TPU that need not be here, in bfloat16.
"""

import argparse
import os
import pathlib
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from glide_jax import compiling, types
from glide_jax.benchmarks import bench, networks
from glide_jax.model_dir import schema
from glide_jax.model_dir.weights import CHOICES, pack_weights, wrap_apply
from glide_jax.sampling import cascade, programs, settings, stages
from glide_jax.scale import topology
from glide_jax.tables import table
from glide_jax.types import Cond
from launch.studies.shared import cache_folder


def main() -> None:
    """Prints tables in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="a directory or a name")
    parser.add_argument("--stages", default="base,upsample")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--topology")
    args = parser.parse_args()
    loads = bench.loads(args.model, cache_folder() / "models", args.stages.split(","))
    loaded = {name: load() for name, load in loads.items()}
    tables = [memory(loaded, args.topology)] if args.memory else [errors(loaded), starts(loaded)]
    print(*tables, sep="\n\n")


def errors(loaded: dict[str, Any]) -> str:
    """How far one evaluation is from float32's."""
    rms = lambda a: float(np.sqrt(np.square(a).mean()))
    rows = []
    for name, (config, params) in loaded.items():
        wanted = _outputs(config, params, "float32")
        for weights in CHOICES:
            small = pack_weights(params, weights)
            error = _outputs(config, small, weights) - wanted
            relative = rms(error[..., :3]) / rms(wanted[..., :3])
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(small)) / 1e6
            largest = np.abs(error).max() / rms(wanted)
            rows.append((name, weights, f"{size:,.1f}", f"{relative:.2g}", f"{largest:.2g}"))
    return table(rows, ("network", "weights", "MB", "rms error of eps", "largest error"))


def starts(loaded: dict[str, Any]) -> str:
    """Seconds until a guided chain is ready for the compiler, with modules and with a program."""
    configs = {name: config for name, (config, _) in loaded.items()}
    params = {name: leaves for name, (_, leaves) in loaded.items()}
    plain = {name: stages.stage(config, "float32") for name, config in configs.items()}
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        path = pathlib.Path(temporary) / "program"
        programs.write_program(path, configs, plain, params, "float32")
        began = time.perf_counter()
        read = programs.read_program(path, configs, plain, params, "float32")
        reading, size = time.perf_counter() - began, path.stat().st_size / 1e3
        for name, config in configs.items():
            seconds = []
            for stage in (plain[name], read[name]):
                began = time.perf_counter()
                _lowered(stage, params[name], config)
                seconds.append(time.perf_counter() - began)
            rows.append((name, f"{seconds[0]:.2f}", f"{seconds[1] + reading:.2f}", f"{size:,.0f}"))
    return table(rows, ("network", "traced, s", "by a program, s", "the file, KB"))


def memory(loaded: dict[str, Any], name: str | None) -> str:
    """The compiler's report of a guided chain of one picture."""
    place, dtype = None, "float32"
    if name is not None:
        os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else libtpu asks a cloud
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_exec_time_optimization_effort", -1.0)
        place, dtype = SingleDeviceSharding(topology.devices(name)[0]), "bfloat16"
    rows = []
    for network, (config, params) in loaded.items():
        for weights in CHOICES:
            stage = stages.stage(config, dtype, wrap_apply(weights))
            found: Any = _lowered(stage, pack_weights(params, weights), config, place).compile()
            sizes = found.memory_analysis()
            parts = sizes.argument_size_in_bytes / 1e6, sizes.temp_size_in_bytes / 1e6
            rows.append((network, weights, *(f"{part:,.1f}" for part in (*parts, sum(parts)))))
    return table(rows, ("network", "weights", "arguments, MB", "temporary, MB", "both"))


def _outputs(config: schema.StageConfig, params: Any, weights: str) -> np.ndarray:
    """eps and var_frac of one evaluation on noise."""
    stage = stages.stage(config, "float32", wrap_apply(weights))
    x = networks.inputs(config.model, 1)

    def evaluate(params, x):
        cond = Cond(stage.encode(params, x.tokens, x.mask), low_res=x.low_res)
        return stage.network(params)(x.x_t, x.t, cond)[:2]

    return np.concatenate(jax.device_get(jax.jit(evaluate)(params, x)), axis=-1)


def _lowered(stage: types.Stage, params: Any, config: schema.StageConfig, place: Any = None) -> Any:
    """A guided chain's program as the compiler gets it, for this device or another."""
    x = networks.inputs(config.model, 1)
    text = jax.eval_shape(stage.encode, params, x.tokens, x.mask)
    cond = Cond(text, low_res=x.low_res)
    keys = cascade.image_keys(0, np.arange(1), 0)
    how = settings.StageSettings(settings.Steps(20), "unipc", "logsnr")
    chain = jax.tree.map(jnp.asarray, cascade.Chain(cascade.schedule_of(stage, how)))
    knobs = jax.tree.map(jnp.float32, how.traced())
    inputs = cascade.Inputs(params, keys, cond, text)
    history, zero = cascade.fresh_history("unipc", knobs, x.x_t), np.int32(0)
    args = (x.x_t, history, inputs, chain, knobs, (zero, zero))
    if place is not None:
        there = lambda a: jax.ShapeDtypeStruct(jnp.shape(a), a.dtype, sharding=place)
        args = jax.tree.map(there, args)
    options = compiling.options() if place is None else None
    return cascade.advance_program(options).lower(*args, network=stage.network, sampler="unipc")


if __name__ == "__main__":
    main()
