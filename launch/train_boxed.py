"""Trains the models that ship in the package, with the plainest possible loop.

    python launch/train_boxed.py base --out runs/shapes

A killed run resumes from its newest checkpoint. `--steps` on a resumed run moves the end, where
the learning rate falls to zero.
"""

import argparse
import concurrent.futures
import pathlib
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from safetensors import numpy as safetensors

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from configs import shapes_boxed
from glide_jax.checkpoints.model_dir import read_weights
from glide_jax.checkpoints.torch_import import flatten
from glide_jax.data.sources import shapes
from glide_jax.diffusion import samplers, schedules
from glide_jax.files import replacing
from glide_jax.models import zoo
from glide_jax.tokenizers import SentencePiece
from glide_jax.training import objectives
from glide_jax.training.step import TrainState, train_step
from glide_jax.types import Cond

# XLA's default convolution on CPUs is a third of the speed of its older one.
CPU = {"xla_cpu_experimental_ynn_fusion_type": ""}


def learning_rate(config) -> optax.Schedule:
    """Warm-up, constant, then a straight line to zero over the last part of the run."""
    decay_steps = int(config.steps * config.decay_fraction)
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, config.lr, config.warmup_steps),
            optax.constant_schedule(config.lr),
            optax.linear_schedule(config.lr, 0.0, decay_steps),
        ],
        [config.warmup_steps, config.steps - decay_steps],
    )


def make_batch(config, tokenizer, context: int, step: int) -> objectives.Batch:
    """Step `step`'s batch; upsamplers see random crops, made small and slightly spoilt."""
    images, captions = shapes.batch(
        config.seed, step, config.batch_size, config.image_size, kinds=config.kinds
    )
    tokens, mask = tokenizer(captions, context)
    x = images.astype(np.float32) / 127.5 - 1.0
    if config.image_size == 64:
        return objectives.Batch(x, tokens, mask)
    rng = np.random.default_rng((config.seed, step))
    grid = rng.integers(0, (config.image_size - config.crop) // 4 + 1, (len(x), 2)) * 4
    x = np.stack(
        [a[i : i + config.crop, j : j + config.crop] for a, (i, j) in zip(x, grid, strict=True)]
    )
    low = x.reshape(len(x), config.crop // 4, 4, config.crop // 4, 4, 3).mean(axis=(2, 4))
    # The base model's pictures are not as clean as a reduced photograph.
    sigma = rng.uniform(0, config.low_res_noise, (len(x), 1, 1, 1))
    low = low + sigma * rng.standard_normal(low.shape)
    low = np.asarray(samplers.quantize(np.clip(low, -1, 1)), np.float32)
    return objectives.Batch(x, tokens, mask, low)


def save(path: pathlib.Path, state: TrainState) -> None:
    """The whole state as one flat vector, and the averaged weights by name."""
    leaves = [np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(state)]
    with replacing(path) as temporary:
        safetensors.save_file({"state": np.concatenate(leaves)}, temporary)
    ema = {k: np.asarray(v) for k, v in flatten(state.ema[0]).items()}
    with replacing(path.with_name(f"{path.stem}_ema.safetensors")) as temporary:
        safetensors.save_file(ema, temporary)


def restore(path: pathlib.Path, state: TrainState) -> TrainState:
    """The state of `path`, or `state` itself if there is none."""
    if not path.exists():
        return state
    vector = safetensors.load_file(path)["state"]
    leaves, treedef = jax.tree.flatten(state)
    # Older files end before the counts of skipped steps, which begin at 0.
    vector = np.pad(vector, (0, sum(leaf.size for leaf in leaves) - vector.size))
    parts = np.split(vector, np.cumsum([leaf.size for leaf in leaves])[:-1])
    restored = [
        jnp.asarray(part.reshape(leaf.shape), leaf.dtype)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jax.tree.unflatten(treedef, restored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=["base", "upsample"])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--size", default="full", choices=["full", "smoke"])
    parser.add_argument("--steps", type=int)
    parser.add_argument(
        "--unet-from", type=pathlib.Path, help="averaged weights of another run whose UNet to take"
    )
    args = parser.parse_args()
    run = shapes_boxed.get_config(args.size)
    config = run[args.stage]
    if args.steps:
        config.steps = args.steps
    args.out.mkdir(parents=True, exist_ok=True)

    tokenizer = SentencePiece.train(shapes.captions(), run.tokenizer.vocab_size)
    tokenizer.save(args.out)
    model_config = zoo.named(config.model)
    model, context = zoo.glide_model(model_config), model_config.text_context
    schedule = schedules.from_alpha_bar(schedules.alpha_bar(config.noise_schedule))
    example = make_batch(config, tokenizer, context, 0)
    null = tokenizer([""], context)

    init = lambda key: model.init(
        key,
        *null,
        example.image[:1],
        jnp.zeros((1,), jnp.int32),
        Cond(low_res=None if example.low_res is None else example.low_res[:1]),
        method="initialise",
    )["params"]
    params = jax.jit(init)(jax.random.key(config.seed))
    if args.unet_from is not None:
        params["unet"] = read_weights(args.unet_from, params)["unet"]
    print(f"{sum(p.size for p in jax.tree.leaves(params)):,} parameters", flush=True)
    loss_fn = objectives.text_to_image(
        network=lambda params, *a, **k: model.apply({"params": params}, *a, **k),
        encode=lambda params, *a: model.apply({"params": params}, *a, method="encode"),
        schedule=schedule,
        null_tokens=jnp.asarray(null.tokens[0]),
        null_fraction=config.null_fraction,
        vb_weight=config.vb_weight,
        max_snr=config.max_snr,
        prediction=config.prediction,
        noisy_share=config.noisy_share,
    )
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate(config), b2=0.99))
    checkpoint = args.out / f"{args.stage}.safetensors"
    state = restore(checkpoint, TrainState.create(params, tx))
    options = CPU if jax.default_backend() == "cpu" else None
    step_fn = jax.jit(
        partial(train_step, loss_fn=loss_fn, tx=tx, ema_decays=(config.ema_decay,)),
        donate_argnums=0,
        compiler_options=options,
    )
    # On a CPU of two cores, XLA_FLAGS=--xla_force_host_platform_device_count=2 is the faster.
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    state = jax.device_put(state, whole)
    key, began, first, means = jax.random.key(config.seed), time.time(), int(state.step), []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        prepare = lambda k: pool.submit(make_batch, config, tokenizer, context, k)
        upcoming = prepare(first)
        for k in range(first, config.steps):
            batch, upcoming = upcoming.result(), prepare(k + 1)
            state, metrics = step_fn(state, jax.device_put(batch, split), key)
            means.append(jax.device_get(metrics))
            if (k + 1) % 50 == 0:
                mean = {n: float(np.nanmean([m[n] for m in means])) for n in means[0]}
                text = "  ".join(f"{n} {v:.4f}" for n, v in mean.items())
                rate = (k + 1 - first) / (time.time() - began)
                left = (config.steps - k - 1) / rate / 60
                print(f"{k + 1}/{config.steps}  {text}  {rate:.2f}/s  {left:.0f} min", flush=True)
                means.clear()
            if (k + 1) % 200 == 0 or k + 1 == config.steps:
                save(checkpoint, state)


if __name__ == "__main__":
    main()
