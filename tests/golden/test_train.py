"""Three AdamW steps and a moving average under the hybrid loss: losses, gradients, parameters."""

import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glide_jax.checkpoints.torch.names import export_params
from glide_jax.diffusion import schedules
from glide_jax.training import objectives
from tests.golden import weights
from tests.golden.compare import Entry, Tolerance, check, entry, once
from tests.golden.files import Arrays, read_json, read_npz
from tests.golden.perturbing import Family, assert_seen
from tests.golden.weights import nhwc, normal

LOSS = Tolerance(max=5e-5, per="element")
GRADIENT, PARAMETER = 1e-4, 1e-5
# Of gradients after the first step, for which the README states nothing. Adam's first step is
# nearly a sign, so rounding noise grows: the reference's own float32 error is 2.7e-4 here.
LATER_GRADIENT = 1e-3


def read(goldens, case) -> tuple[dict, Arrays]:
    described = read_json(goldens / "train", "meta")[case]
    stored = read_npz(goldens / "train", case)
    assert not stored.pop("grad_is_none").any()  # every parameter is trained
    return described, stored


def images(case: str, step: int, size: int, batch: int) -> jax.Array:
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"train/{case}/x/{step}".encode())))
    pixels = rng.integers(0, 256, (batch, 3, size, size), dtype=np.int64)
    return nhwc(pixels.astype(np.float32) / np.float32(127.5) - np.float32(1))


def first_4(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """The first numbers of each tensor, zeros after the end of a shorter one."""
    return np.array([np.resize(np.append(a.reshape(-1)[:4], [0] * 4), 4) for a in tensors.values()])


def summary(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Sum, l2 and largest magnitude of each tensor."""
    wide = [a.astype(np.float64) for a in tensors.values()]
    return np.array([(a.sum(), np.sqrt((a**2).sum()), np.abs(a).max()) for a in wide])


def tensor_entries(
    place: str,
    names: tuple[str, str],
    tensors: dict[str, np.ndarray],
    bound: float,
    adrift: float = 0.0,
) -> list[Entry]:
    """Of gradients or parameters, each tensor at its own size.

    That is l2 for the l2, the largest number for single numbers, and for the sum sqrt(n) l2, the
    largest it can be. `adrift` is how far Adam may carry a number whose gradient is rounding noise:
    softmax does not see the keys' bias of the text encoder.
    """
    of, roots = summary(tensors), np.sqrt([a.size for a in tensors.values()])
    size = np.stack([roots * of[:, 1], of[:, 1], of[:, 2]], axis=1)
    unseen = [name.endswith("attn.c_qkv.bias") for name in tensors]
    if adrift:  # a third of the numbers, each in a random direction
        size[unseen, :2] = (roots[unseen] * adrift / np.sqrt(3) / bound)[:, None]
    columns = 2 if names[0].endswith("sum_l2") else 3
    sums = Tolerance(max=bound, scale=size[:, :columns])
    numbers = Tolerance(max=bound, scale=of[:, 2:3])
    first = first_4(tensors)
    return [
        entry(of[:, :columns], *((f"{place}{names[0]}/{f}", sums) for f in ("f64", "f32"))),
        entry(first, *((f"{place}{names[1]}/{f}", numbers) for f in ("f64", "f32"))),
    ]


def loss_function(network: weights.Glide, schedule: schedules.Schedule, stored: Arrays):
    """What `objectives.text_to_image` computes once its chances are drawn."""
    tokens, mask = jnp.asarray(stored["in_tokens"]), jnp.asarray(stored["in_mask"])

    def loss(params, i, x_0, noise, low_res):
        variables = {"params": params}
        text = network.model.apply(variables, tokens, mask, method="encode")
        cond = objectives.condition(objectives.Batch(x_0, tokens, mask, low_res), text)
        denoise = lambda x_t, t: network.model.apply(variables, x_t, t, cond, train=True)
        terms, _ = objectives.hybrid_loss(denoise, schedule, x_0, i, noise, vb_weight=1e-3)
        return terms.loss.mean(), terms

    return loss


def adam_numbers(described: dict) -> list[float]:
    """Learning rate, both betas and epsilon."""
    pattern = r"AdamW\(lr=(.*), betas=\((.*),(.*)\), eps=(.*)\)"
    return [float(number) for number in re.fullmatch(pattern, described["optimizer"]).groups()]


def optimizer_of(described: dict) -> optax.GradientTransformation:
    # As one vector: one small program instead of one for each of two hundred shapes.
    decay = described["weight_decay"]
    return optax.flatten(optax.adamw(*adam_numbers(described), weight_decay=decay))


def entries(described: dict, stored: Arrays, case: str) -> list[Entry]:
    network = weights.glide(
        described["create_model_kwargs"], described["params"], described["salt"]
    )
    schedule = schedules.from_alpha_bar(schedules.alpha_bar(described["schedule"]))
    tx, names = optimizer_of(described), [str(name) for name in stored["param_names"]]
    gradient = jax.jit(jax.grad(loss_function(network, schedule, stored), has_aux=True))

    @jax.jit
    def update(params, ema, state, grads):
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return params, optax.incremental_update(params, ema, 1.0 - described["ema_rate"]), state

    def by_name(tree) -> dict[str, np.ndarray]:
        exported = export_params(tree)
        return {name: exported[name] for name in names}

    found, size = [], described["create_model_kwargs"]["image_size"]
    params = ema = network.params
    state = tx.init(params)
    for k, t in enumerate(described["timesteps"]):
        low_res = nhwc(stored[f"in_low_res_{k}"]) if f"in_low_res_{k}" in stored else None
        x_0 = images(case, k, size, len(t))
        noise = nhwc(normal(f"train/{case}/noise/{k}", (len(t), 3, size, size)))
        grads, terms = gradient(params, jnp.asarray(t), x_0, noise, low_res)
        params, ema, state = update(params, ema, state, grads)
        for key, a in terms._asdict().items():
            found.append(entry(a, *((f"step{k}/{key}/{f}", LOSS) for f in ("f64", "f32"))))
        grads = by_name(grads)
        names_of = ("grad_sum_l2_absmax", "grad_first4")
        limit = LATER_GRADIENT if k else GRADIENT
        found += tensor_entries(f"step{k}/", names_of, grads, limit)
        norm = np.sqrt(np.sum(summary(grads)[:, 1] ** 2))
        bound = Tolerance(max=GRADIENT, per="element")
        found.append(
            entry(norm, *((f"step{k}/grad_global_norm/{f}", bound) for f in ("f64", "f32")))
        )
    adrift = adam_numbers(described)[0] * len(described["timesteps"])
    for key, tree in (("param", params), ("ema", ema)):
        names_of = (f"final_{key}_sum_l2", f"final_{key}_first4")
        found += tensor_entries("", names_of, by_name(tree), PARAMETER, adrift)
    return found


def test_three_training_steps_agree(goldens, train_case):
    described, stored = read(goldens, train_case)
    ours = once((goldens, "train", train_case), lambda: entries(described, stored, train_case))
    check(stored, ours, "training")


def test_ten_tolerances_are_seen_in_every_array(tmp_path):
    assert_seen(Family("train/base", "base", read, entries), tmp_path)
