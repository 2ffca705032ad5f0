"""Optimizers and learning rates by name, weight decay on kernels only, parts of a model frozen."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.trees import path_of
from glide_jax.types import Loss, Params

OPTIMIZERS = ("adamw", "sgd", "adafactor", "lion", "muon")
SCHEDULES = ("constant", "cosine", "linear")

# First and last layers, which Muon's authors leave to Adam.
_ENDS = re.compile(r"(unet/(input_0|out_conv|bypass)|image/patches|(image|text)/out)/kernel$")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LearningRate:
    """A learning rate over a run: a function of the number of updates.

    Its numbers are arrays that a compiled step reads, so a run that goes on with others compiles
    nothing anew.
    """

    kind: str = dataclasses.field(metadata={"static": True})  # of SCHEDULES
    peak: Any  # float32, as the rest is int32
    warmup_steps: Any
    begin: Any  # update that the way down begins at
    end: Any  # and that it ends at

    @jax.jit
    def __call__(self, count: Int[Array, ""] | int) -> Float[Array, ""]:
        """The rate of the update after `count` others."""
        past = (count - self.begin) / jnp.maximum(self.end - self.begin, 1)
        part = jnp.clip(past, 0.0, 1.0)  # of the way down
        if self.kind == "cosine":
            down = 0.5 * (1.0 + jnp.cos(jnp.pi * part))
        else:
            down = 1.0 - part if self.kind == "linear" else 1.0
        up = count / jnp.maximum(self.warmup_steps, 1)
        return self.peak * jnp.where(count < self.warmup_steps, up, down)


def lr_schedule(
    kind: str,
    peak: float,
    num_steps: int,
    *,
    warmup_steps: int = 0,
    decay_fraction: float = 1.0,
) -> LearningRate:
    """A straight line up to `peak`, then what `kind` says.

    Args:
        kind: "constant"; "cosine", half a wave from the end of the warm-up down to 0; "linear",
            constant, and a straight line to 0 over the last part of the run.
        peak: the largest learning rate.
        num_steps: of the run, at the end of which the last two are 0.
        warmup_steps: length of the way up.
        decay_fraction: part of the run that "linear" falls over; a warm-up cuts it short.

    Raises:
        InputError: an unknown kind, or a warm-up longer than a run that has to come down again.
    """
    checks.one_of("schedule", kind, SCHEDULES)
    checks.real("decay_fraction", decay_fraction, 0.0, 1.0)
    if kind != "constant" and warmup_steps >= num_steps:
        raise InputError(
            f"warmup_steps is {warmup_steps}; with schedule {kind!r} it must be less than "
            f"num_steps, which is {num_steps}."
        )
    begin = warmup_steps
    if kind == "linear":
        begin = max(begin, num_steps - int(num_steps * decay_fraction))
    return LearningRate(
        kind, np.float32(peak), np.int32(warmup_steps), np.int32(begin), np.int32(num_steps)
    )


class RateState(NamedTuple):
    """What an optimizer's state says of its learning rate."""

    count: Int[Array, ""]  # of updates
    rate: LearningRate


def with_rate(opt_state: optax.OptState, rate: LearningRate) -> optax.OptState:
    """A state that goes on with another learning rate of the same kind."""
    of_rate = lambda part: isinstance(part, RateState)
    put = lambda part: part._replace(rate=rate) if of_rate(part) else part
    return jax.tree.map(put, opt_state, is_leaf=of_rate)


def _scale_by_rate(rate: LearningRate) -> optax.GradientTransformation:
    """As optax's `scale_by_learning_rate`, but what it scales by is in the state."""

    def update(updates: Params, state: RateState, params: Any = None):
        by = -state.rate(state.count)
        updates = jax.tree.map(lambda u: by.astype(u.dtype) * u, updates)
        return updates, RateState(optax.safe_increment(state.count), state.rate)

    return optax.GradientTransformation(
        lambda params: RateState(jnp.zeros((), jnp.int32), rate), update
    )


def is_kernel(params: Params) -> PyTree[bool]:
    """True for kernels of convolutions and dense layers: what weight decay acts on.

    Norms, biases, embeddings and the logit scale are the rest, and pulling them to 0 regularises
    nothing.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path_of(path).split("/")[-1] == "kernel", params
    )


def frozen_mask(params: Params, patterns: Sequence[str]) -> PyTree[bool]:
    """True for parameters that patterns of `train.freeze` name, see `matching`.

    Raises:
        InputError: as `matching`, or all is frozen.
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
    """True for parameters whose path, like "text/block_0/qkv/kernel", one of the patterns is in.

    Args:
        params: or their shapes.
        patterns: regular expressions, found anywhere in a path: "^text/" is the text encoder.
        field: of the config that holds them, for the sentence of an error.

    Raises:
        InputError: a pattern that is no regular expression or is in no path.
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
    name: str,
    learning_rate: LearningRate,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    frozen: PyTree[bool] | None = None,
) -> optax.GradientTransformation:
    """The optimizer of a name, after clipping, on what is not frozen.

    Weight decay is decoupled (Loshchilov & Hutter, 2019) for all of them, times the learning rate.

    Args:
        name: "adamw", ADM's choice; "sgd" with Nesterov's momentum b1; "adafactor" (Shazeer &
            Stern, 2018) with factored second moments and neither b1, b2 nor eps; "lion" (Chen et
            al., 2023), which wants a tenth of Adam's learning rate; "muon" (Jordan et al., 2024)
            with momentum b1 on kernels, a convolution's being one matrix from window and
            channels to channels, at Adam's size of step, and Adam on the rest.
        learning_rate: that the state begins with, see `with_rate`.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: beside the root of the second moment.
        weight_decay: of kernels.
        clip_norm: largest global norm of the gradient of what is trained; 0 is no limit.
        frozen: True for parameters that get no update and no state.

    Raises:
        InputError: an unknown name.
    """
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
        *([optax.clip_by_global_norm(clip_norm)] if clip_norm else []),
        make[name](),
        *([optax.add_decayed_weights(weight_decay, is_kernel)] if weight_decay else []),
        _scale_by_rate(learning_rate),
    )
    if frozen is None or not any(jax.tree.leaves(frozen)):
        return tx
    labels = jax.tree.map(lambda is_frozen: "frozen" if is_frozen else "trained", frozen)
    return optax.multi_transform({"trained": tx, "frozen": optax.set_to_zero()}, labels)


def _muon_axes(params: Params) -> PyTree:
    """Which axes of a kernel are a matrix's rows and columns; None is for Adam."""

    def axes(path: Any, p: jnp.ndarray) -> optax.contrib.MuonDimensionNumbers | None:
        name = path_of(path)
        if name.split("/")[-1] != "kernel" or _ENDS.search(name):
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(p.ndim - 1)), p.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)
