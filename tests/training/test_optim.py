"""Optimizers by name: that they train, what they leave alone, and how fast they go."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glide_jax import trees
from glide_jax.errors import InputError
from glide_jax.training import optim
from glide_jax.training.sections import Optim
from glide_jax.training.step import TrainState, train_step

KEY = jax.random.key(0)
PARAMS = {
    "text": {"token_embedding": jnp.ones((5, 4)), "qkv": {"kernel": jnp.eye(4)}},
    "unet": {
        "input_0": {"kernel": jnp.ones((3, 3, 2, 4)), "bias": jnp.ones(4)},
        "middle": {"kernel": jax.random.normal(KEY, (3, 3, 4, 4)), "scale": jnp.ones(4)},
    },
}
TARGET = jax.tree.map(lambda p: p + jax.random.normal(KEY, p.shape), PARAMS)


def schedule(kind, peak, num_steps, **options):
    return optim.lr_schedule(Optim(schedule=kind, lr=peak, **options), num_steps)


def make(name, rate, frozen=None, **options):
    return optim.optimizer(Optim(name=name, **options), rate, frozen)


def constant(rate):
    return schedule("constant", rate, 1)


def distance(params, batch=None, key=None):
    gaps = jax.tree.map(lambda p, q: ((p - q) ** 2).sum(), params, TARGET)
    return sum(jax.tree.leaves(gaps)), {}


def run(tx, steps, loss_fn=distance):
    state = TrainState.create(jax.tree.map(jnp.copy, PARAMS), tx)
    step = jax.jit(lambda s: train_step(s, {}, KEY, loss_fn=loss_fn, tx=tx, ema_decays=(0.9,)))
    for _ in range(steps):
        state, metrics = step(state)
    return state, metrics


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_trains_with_everything_switched_on(name):
    rate = schedule("cosine", 0.05, 40, warmup_steps=5)
    mask = optim.frozen_mask(PARAMS, ["^text/"])
    tx = make(name, rate, weight_decay=1e-3, clip_norm=10.0, frozen=mask)
    _, metrics = run(tx, 40, optim.without_frozen(distance, mask))
    before, after = distance({**TARGET, "unet": PARAMS["unet"]})[0], metrics["loss"]
    assert float(after - distance({**TARGET, "text": PARAMS["text"]})[0]) < 0.6 * float(before)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_what_is_frozen_stays_and_has_no_state(name):
    mask = optim.frozen_mask(PARAMS, ["^text/", "bias$"])
    tx = make(name, constant(0.1), weight_decay=0.1, frozen=mask)
    loss_fn = optim.without_frozen(distance, mask)
    state, metrics = run(tx, 7, loss_fn)
    pairs = zip(*map(jax.tree.leaves, (mask, PARAMS, state.params, state.ema[0])), strict=True)
    for is_frozen, old, new, average in pairs:
        assert np.array_equal(old, new) is is_frozen
        assert np.array_equal(old, average) is is_frozen
    shapes = {leaf.shape for leaf in jax.tree.leaves(tx.init(PARAMS))}
    assert (5, 4) not in shapes  # of the token embedding
    assert float(metrics["grad_norm"]) == pytest.approx(
        float(optax.tree.norm(jax.grad(lambda p: loss_fn(p, {}, KEY)[0])(state.params))), rel=0.5
    )


def test_without_frozen_has_no_gradient_there():
    mask = optim.frozen_mask(PARAMS, ["^text/"])
    gradient = jax.grad(lambda p: optim.without_frozen(distance, mask)(p, {}, KEY)[0])(PARAMS)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient["text"]))
    assert all(leaf.any() for leaf in jax.tree.leaves(gradient["unet"]))


def test_only_kernels_decay():
    zero = lambda params, batch, key: (0.0 * distance(params)[0], {})
    tx = make("adamw", constant(0.1), weight_decay=0.5)
    state, _ = run(tx, 1, zero)
    for path, new in jax.tree_util.tree_leaves_with_path(state.params):
        old = dict(jax.tree_util.tree_leaves_with_path(PARAMS))[path]
        decayed = 1 - 0.1 * 0.5 if trees.path_of(path).endswith("kernel") else 1.0
        np.testing.assert_allclose(new, decayed * old, rtol=1e-6)


def test_adamw_is_the_optimizer_of_that_name():
    ours = make("adamw", constant(0.01), b2=0.99, weight_decay=0.1)
    theirs = optax.adamw(0.01, b2=0.99, weight_decay=0.1, mask=optim.is_kernel)
    jax.tree.map(np.testing.assert_array_equal, run(ours, 3)[0].params, run(theirs, 3)[0].params)


def test_clipping_bounds_the_norm_of_a_step():
    tx = make("sgd", constant(1.0), b1=0.0, clip_norm=0.25)
    state, _ = run(tx, 1)
    moved = jax.tree.map(jnp.subtract, state.params, PARAMS)
    assert float(optax.tree.norm(moved)) == pytest.approx(0.25, rel=1e-5)


def test_muon_makes_a_convolution_orthogonal_and_leaves_the_ends_to_adam():
    tx = make("muon", constant(0.01))
    gradient = jax.tree.map(lambda p, q: p - q, PARAMS, TARGET)
    updates, _ = tx.update(gradient, tx.init(PARAMS), PARAMS)
    conv = np.asarray(updates["unet"]["middle"]["kernel"]).reshape(36, 4)
    values = np.linalg.svd(conv, compute_uv=False)
    assert values.max() < 2 * values.min()
    assert np.sqrt((conv**2).mean()) == pytest.approx(0.2 * 0.01, rel=0.4)
    stem = np.abs(updates["unet"]["input_0"]["kernel"])
    np.testing.assert_allclose(stem, stem.mean(), rtol=1e-3)  # Adam's first step is a sign


def test_what_muon_leaves_is_trained_by_nadam():
    gradients = np.random.default_rng(0).standard_normal((4, 4))
    b1, b2, eps, m, v = 0.9, 0.999, 1e-8, np.zeros(4), np.zeros(4)
    params = {"unet": {"middle": {"scale": jnp.zeros(4)}}}
    tx = make("muon", constant(0.1), b1=b1, b2=b2, eps=eps)
    state = tx.init(params)
    for k, g in enumerate(gradients, 1):
        given = jax.tree.map(lambda p, g=g: jnp.float32(g), params)
        update, state = tx.update(given, state, params)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        ahead = b1 * m / (1 - b1 ** (k + 1)) + (1 - b1) * g / (1 - b1**k)  # Dozat's algorithm
        expected = -0.1 * ahead / (np.sqrt(v / (1 - b2**k)) + eps)
        np.testing.assert_allclose(update["unet"]["middle"]["scale"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [0.1, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]),
        ("cosine", [0.1, 1.0, 2.0, 2.0, 1.0, 0.0, 0.0]),
        ("linear", [0.1, 1.0, 2.0, 2.0, 2.0, 0.0, 0.0]),
    ],
)
def test_learning_rates_rise_stay_and_fall(kind, expected):
    rate = schedule(kind, 2.0, 100, warmup_steps=20, decay_fraction=0.4)
    found = [float(rate(count)) for count in (0, 9, 19, 20, 60, 100, 101)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_warm_up_without_end_is_refused():
    with pytest.raises(InputError, match=r"warmup_steps is 50.*num_steps, which is 50"):
        schedule("cosine", 1.0, 50, warmup_steps=50)
    assert float(schedule("constant", 1.0, 50, warmup_steps=50)(24)) == 0.5


def test_the_first_step_moves_under_every_warm_up_and_none_is_above_the_peak():
    for steps in (0, 1, 2, 7):
        rates = [float(schedule("constant", 2.0, 9, warmup_steps=steps)(k)) for k in range(9)]
        expected = [2.0 * min(1.0, (k + 1) / max(steps, 1)) for k in range(9)]
        np.testing.assert_allclose(rates, expected, rtol=1e-6)
    rate = schedule("constant", 1.0, 9, warmup_steps=3)
    state, _ = run(make("sgd", rate, b1=0.0), 1)
    moved = PARAMS["text"]["qkv"]["kernel"] - state.params["text"]["qkv"]["kernel"]
    gradient = 2.0 * (PARAMS["text"]["qkv"]["kernel"] - TARGET["text"]["qkv"]["kernel"])
    np.testing.assert_allclose(moved, gradient / 3.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["^unet/imput_0"], "near it are .*unet/input_0"),
        (["zzz"], "near it are text, unet"),
        (["("], "no regular expression"),
        (["."], "nothing to train"),
    ],
)
def test_patterns_that_freeze_nothing_or_everything_are_refused(patterns, message):
    with pytest.raises(InputError, match=message) as error:
        optim.frozen_mask(PARAMS, patterns)
    assert "\n" not in str(error.value)


def test_an_unknown_optimizer_names_the_known_ones():
    with pytest.raises(InputError, match="adamw, sgd"):
        make("adam", constant(0.1))
