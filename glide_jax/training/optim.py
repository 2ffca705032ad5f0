"""Optimizers and learning rates by name, weight decay on kernels only, parts of a model frozen."""

import difflib
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PyTree

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.mesh import partition
from glide_jax.training.sections import Optim
from glide_jax.trees import path_of
from glide_jax.types import Loss, Params

OPTIMIZERS = ("adamw", "sgd", "adafactor", "lion", "muon")
SCHEDULES = ("constant", "cosine", "linear")

# First and last layers, which Muon's authors leave to Adam; here it is NAdam.
_ENDS = re.compile(r"(unet/(input_0|out_conv|bypass)|image/patches|(image|text)/out)/kernel$")


class LearningRate(NamedTuple):
    """A learning rate over a run: a function of the number of updates."""

    kind: str  # one of SCHEDULES
    peak: np.ndarray  # float32, as the rest is int32
    warmup_steps: np.ndarray
    begin: np.ndarray  # the update at which the way down begins
    end: np.ndarray  # and the one at which it ends

    def __call__(self, count: Int[Array, ""] | int) -> Float[Array, ""]:
        """The rate of the update after `count` others."""
        return _rate(count, **self._asdict())


@functools.partial(jax.jit, static_argnames="kind")
def _rate(count: Any, kind: str, peak: Any, warmup_steps: Any, begin: Any, end: Any) -> Array:
    part = jnp.clip(
        (count - begin) / jnp.maximum(end - begin, 1), 0.0, 1.0
    )  # fraction of the way down
    if kind == "cosine":
        down = 0.5 * (1.0 + jnp.cos(jnp.pi * part))
    else:
        down = 1.0 - part if kind == "linear" else 1.0
    up = (count + 1) / jnp.maximum(warmup_steps, 1)  # a first step of 0 would be a batch lost
    return peak * jnp.where(count < warmup_steps, up, down)


@functools.partial(optax.inject_hyperparams, static_args="kind")
def _scale_by_rate(
    kind: str, peak: Any, warmup_steps: Any, begin: Any, end: Any
) -> optax.GradientTransformation:
    """Descends at a rate whose numbers are in the state, so that others compile nothing anew."""
    numbers = (kind, peak, warmup_steps, begin, end)
    return optax.scale_by_schedule(lambda count: -_rate(count, *numbers))


def with_rate(opt_state: optax.OptState, rate: LearningRate, mesh: Mesh) -> optax.OptState:
    """A state that goes on with another learning rate of the same kind.

    Args:
        opt_state: the state of an `optimizer`, on the mesh.
        rate: the one to go on with.
        mesh: where the rate's numbers are to lie, whole on every device.
    """
    numbers = {name: value for name, value in rate._asdict().items() if name != "kind"}
    return optax.tree.set(opt_state, **partition.shard_state(numbers, mesh))


def lr_schedule(options: Optim, num_steps: int) -> LearningRate:
    """A straight line up to `options.lr`, then the way of `options.schedule`.

    Update k of `warmup_steps` has the share k / warmup_steps of the rate, so the first one moves.

    "constant" stays there. "cosine" is half a wave from the end of the warm-up down to 0 at the
    end of the run. "linear" stays, and falls in a straight line to 0 over the last
    `decay_fraction` of the run, which a warm-up cuts short.

    Raises:
        InputError: an unknown schedule, or a warm-up longer than a run that has to come down again.
    """
    kind, warmup_steps = options.schedule, options.warmup_steps
    checks.one_of("schedule", kind, SCHEDULES)
    if kind != "constant" and warmup_steps >= num_steps:
        raise InputError(
            f"warmup_steps is {warmup_steps}; with schedule {kind!r} it must be less than "
            f"num_steps, which is {num_steps}."
        )
    begin = warmup_steps
    if kind == "linear":
        begin = max(begin, num_steps - int(num_steps * options.decay_fraction))
    whole = lambda number: np.asarray(number, np.int32)
    peak = np.asarray(options.lr, np.float32)
    return LearningRate(kind, peak, whole(warmup_steps), whole(begin), whole(num_steps))


def is_kernel(params: Params) -> PyTree[bool]:
    """True for kernels of convolutions and dense layers, on which alone weight decay acts.

    The others are norms, biases, embeddings and the logit scale; pulling them to 0 would regularise
    nothing.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path_of(path).split("/")[-1] == "kernel", params
    )


def frozen_mask(params: Params, patterns: Sequence[str]) -> PyTree[bool]:
    """True for parameters that match patterns of `train.freeze`, see `matching`.

    Raises:
        InputError: a pattern is wrong or matches nothing, or everything is frozen.
    """
    mask = matching(params, patterns, "freeze")
    leaves = jax.tree.leaves(mask)
    if leaves and all(leaves):
        raise InputError(
            f"freeze is {checks.shown(tuple(patterns))}, which leaves nothing to train; it must "
            "leave out some parameter."
        )
    return mask


def matching(params: Params, patterns: Sequence[str], field: str) -> PyTree[bool]:
    """True for parameters whose path, like "text/block_0/qkv/kernel", matches one of the patterns.

    Args:
        params: parameters, or their shapes.
        patterns: regular expressions, found anywhere in a path: "^text/" is the text encoder.
        field: the config's field that holds them, for messages.

    Raises:
        InputError: a pattern is no regular expression or matches no path.
    """
    paths = [path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for pattern in patterns:
        try:
            matches = any(re.search(pattern, path) for path in paths)
        except re.error as error:
            raise InputError(
                f"{field} has {checks.shown(pattern)}, which is no regular expression: {error}."
            ) from None
        if not matches:
            raise InputError(
                f"{field} has {checks.shown(pattern)}, which is in the path of no parameter; "
                f"near it are {', '.join(_near(pattern, paths))}."
            )
    return jax.tree_util.tree_map_with_path(
        lambda path, _: any(re.search(pattern, path_of(path)) for pattern in patterns), params
    )


def _near(pattern: str, paths: Sequence[str]) -> list[str]:
    """Paths and their beginnings that look like a pattern, or where the tree begins."""
    parts = [path.split("/") for path in paths]
    known = {"/".join(p[:n]): None for p in parts for n in range(1, len(p) + 1)}
    near = difflib.get_close_matches(pattern.strip("^$/"), known, n=3, cutoff=0.5)
    return near or list(dict.fromkeys(p[0] for p in parts))


def without_frozen(loss_fn: Loss, mask: PyTree[bool]) -> Loss:
    """A loss that does not depend on frozen parameters, so that no gradient of them is computed.

    Without it the optimizer would drop their gradients only after they were paid for, and the
    gradient's norm would count them.
    """

    def loss(params: Params, batch: Any, key: Array) -> tuple[Array, dict[str, Array]]:
        stop = lambda is_frozen, p: jax.lax.stop_gradient(p) if is_frozen else p
        return loss_fn(jax.tree.map(stop, mask, params), batch, key)

    return loss


def optimizer(
    options: Optim, rate: LearningRate, frozen: PyTree[bool] | None = None
) -> optax.GradientTransformation:
    """The optimizer of a name, after clipping, on what is not frozen.

    "adamw" is ADM's choice. "sgd" has Nesterov's momentum b1. "adafactor" (Shazeer & Stern, 2018)
    has factored second moments and neither b1, b2 nor eps. "lion" (Chen et al., 2023) needs a tenth
    of Adam's learning rate. "muon" (Jordan et al., 2024) has momentum b1 on kernels, a
    convolution's being one matrix from window and channels to channels, at Adam's size of step, and
    NAdam on the rest (Dozat, 2016: Adam with Nesterov's momentum, which Muon has, too). Weight
    decay is decoupled (Loshchilov & Hutter, 2019) for all of them, times the learning rate.
    Clipping bounds the global norm of the gradient of what is trained.

    Args:
        options: its name and its numbers; the learning rate in it is not read.
        rate: the learning rate that the state begins with, see `with_rate`.
        frozen: True for parameters that get no update and no state.

    Raises:
        InputError: an unknown name.
    """
    name, b1, b2, eps = options.name, options.b1, options.b2, options.eps
    decay = options.weight_decay
    checks.one_of("optimizer", name, OPTIMIZERS)
    make: dict[str, Callable[[], optax.GradientTransformation]] = {
        "adamw": lambda: optax.scale_by_adam(b1, b2, eps),
        "sgd": lambda: optax.trace(b1, nesterov=True),
        "adafactor": lambda: optax.chain(
            optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0)
        ),
        "lion": lambda: optax.scale_by_lion(b1, b2),
        # Muon scales what it orthogonalises by shape, so its rate is left to the chain below.
        "muon": lambda: optax.contrib.muon(
            -1.0,
            beta=b1,
            eps=eps,
            adam_b1=b1,
            adam_b2=b2,
            consistent_rms=0.2,
            muon_weight_dimension_numbers=_muon_axes,
        ),
    }
    tx = optax.chain(
        *([optax.clip_by_global_norm(options.clip_norm)] if options.clip_norm else []),
        make[name](),
        *([optax.add_decayed_weights(decay, is_kernel)] if decay else []),
        _scale_by_rate(*rate),
    )
    if frozen is None or not any(jax.tree.leaves(frozen)):
        return tx
    labels = jax.tree.map(lambda is_frozen: "frozen" if is_frozen else "trained", frozen)
    return optax.multi_transform({"trained": tx, "frozen": optax.set_to_zero()}, labels)


def _muon_axes(params: Params) -> PyTree:
    """The axes of each kernel that are a matrix's rows and columns; None leaves it to NAdam."""

    def axes(path: Any, p: jnp.ndarray) -> optax.contrib.MuonDimensionNumbers | None:
        name = path_of(path)
        if name.split("/")[-1] != "kernel" or _ENDS.search(name):
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(p.ndim - 1)), p.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)
