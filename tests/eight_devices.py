"""Training on meshes of eight virtual devices, beside one device; prints what differs, as JSON.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.eight_devices
"""

import collections
import json
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glide_jax import sharding
from glide_jax.diffusion import schedules
from glide_jax.models import zoo
from glide_jax.training import clip_objective, objectives
from glide_jax.training.step import TrainState, train_step
from glide_jax.types import Cond

MESHES = {"8x1": (8, 1), "2x4": (2, 4), "1x8": (1, 8)}
SCHEDULE = schedules.from_alpha_bar(schedules.alpha_bar("squaredcos_cap_v2"))
KEY = jax.random.key(0)
STEPS, SIDE, CONTEXT = 3, 8, 6
MIN_SIZE = 512  # so that a tiny model is split as a large one is
GLIDE = zoo.ModelConfig(
    image_size=SIDE,
    channels=32,
    channel_mult=(1,),
    res_blocks=1,
    attention=(8,),
    head_channels=16,
    dropout=0.1,
    text_width=32,
    text_layers=1,
    text_heads=2,
    text_context=CONTEXT,
    vocab_size=304,
)
CLIP = zoo.ClipConfig(
    image_size=SIDE,
    image_width=32,
    image_layers=1,
    image_heads=2,
    text_width=32,
    text_layers=1,
    text_heads=2,
    text_context=CONTEXT,
    vocab_size=304,
    embedding_width=32,
)


def batch(k: int) -> objectives.Batch:
    rng = np.random.default_rng(k)
    image = np.float32(rng.uniform(-1, 1, (16, SIDE, SIDE, 3)))
    mask = np.arange(CONTEXT) < rng.integers(1, CONTEXT, (16, 1))
    return objectives.Batch(image, np.int32(rng.integers(0, 300, (16, CONTEXT))), mask)


def glide():
    """A loss and parameters of which none is idle."""
    model = zoo.glide_model(GLIDE)
    apply = lambda params, *a, **k: model.apply({"params": params}, *a, **k)
    null = jnp.zeros(CONTEXT, jnp.int32)
    loss = objectives.text_to_image(apply, partial(apply, method="encode"), SCHEDULE, null)
    x = batch(0)
    inputs = (x.tokens[:1], x.mask[:1], x.image[:1], jnp.zeros(1, jnp.int32), Cond())
    return loss, noisy(partial(model.init, KEY, *inputs, method="initialise"))


def clip():
    model, x = zoo.clip_model(CLIP), batch(0)
    apply = lambda params, *a, **k: model.apply({"params": params}, *a, **k)
    encode = {side: partial(apply, method=f"encode_{side}") for side in ("image", "text")}
    loss = clip_objective.contrastive(encode["image"], encode["text"], SCHEDULE)
    inputs = (x.image[:1], jnp.zeros(1, jnp.int32), x.tokens[:1], x.mask[:1])
    params = noisy(partial(model.init, KEY, *inputs, method="initialise"))
    return loss, clip_objective.with_logit_scale(params)


def noisy(init):
    def draw(path, shape):
        key = jax.random.fold_in(KEY, hash_of(path))
        return 0.1 * jax.random.normal(key, shape.shape) + (path[-1].key == "scale")

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init)["params"])


def hash_of(path) -> int:
    return sum(map(ord, jax.tree_util.keystr(path))) * 31 + len(path)


def run(loss_fn, params, mesh=None):
    """Losses of each step, the first gradient, and how many collectives the program has."""
    # Plain descent: Adam's first steps are signs, also of gradients that are only rounding.
    tx = optax.chain(optax.trace(0.0), optax.sgd(1e-2))  # the trace is the last gradient
    state = TrainState.create(jax.tree.map(jnp.copy, params), tx, averages=0)
    options, place = {}, lambda batch: batch
    if mesh is not None:
        state = sharding.shard_state(state, mesh, MIN_SIZE)
        options = {"out_shardings": (sharding.shardings(state, mesh, MIN_SIZE), None)}
        place = partial(sharding.put_batch, mesh=mesh)
        plain, loss_fn = loss_fn, lambda p, *a: plain(sharding.gathered(p, mesh), *a)
    step = partial(train_step, loss_fn=loss_fn, tx=tx, ema_decays=())
    compiled = (
        jax.jit(step, donate_argnums=0, **options)
        .lower(state, place(batch(0)), KEY)
        .compile({"xla_backend_optimization_level": 0})
    )
    kinds = r" = .*? (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)\("
    found = collections.Counter(re.findall(kinds, compiled.as_text()))
    losses, gradient = [], None
    for k in range(STEPS):
        state, metrics = compiled(state, place(batch(k)), KEY)
        losses.append(float(metrics["loss"]))
        gradient = jax.device_get(state.opt_state[0].trace) if gradient is None else gradient
    return np.array(losses), gradient, dict(found), state


def worst(a, b) -> float:
    """The largest difference of a gradient's tensors, relative to each.

    Softmax does not see the bias of keys, and what its gradient holds is rounding.
    """
    floor = 1e-4 * max(float(np.abs(y).max()) for y in jax.tree.leaves(b))
    gap = lambda x, y: np.abs(x - y).max() / max(np.abs(y).max(), floor)
    return float(max(jax.tree.leaves(jax.tree.map(gap, a, b))))


def main() -> None:
    report = {}
    for name, make in {"glide": glide, "clip": clip}.items():
        loss_fn, params = make()
        losses, gradient, *_ = run(loss_fn, params)
        # Shapes and the model decide what a mesh does to gradients; global negatives need just one.
        for mesh_name, shape in MESHES.items() if name == "glide" else [("2x4", (2, 4))]:
            mesh = sharding.make_mesh(*shape)
            found_losses, found, collectives, state = run(loss_fn, params, mesh)
            split = sum(not p.sharding.is_fully_replicated for p in jax.tree.leaves(state.params))
            report[f"{name} {mesh_name}"] = {
                "loss": float(np.abs(found_losses / losses - 1).max()),
                "gradient": worst(found, gradient),
                "collectives": collectives,
                "split": split,
            }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
