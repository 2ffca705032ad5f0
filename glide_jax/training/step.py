"""One update: everything that changes in training is in the state, which holds only arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from glide_jax.errors import InputError
from glide_jax.training import quartiles
from glide_jax.types import Loss, Params, Scalar

DOUBLE_AFTER = 2000  # good steps until the loss scale doubles
SCALES = (1.0, 2.0**15, 2.0**24)  # factors on the loss: least, first, largest


class LossScale(NamedTuple):
    """A factor on float16's losses, so that small gradients do not become 0."""

    scale: Float[Array, ""]
    good_steps: Int[Array, ""]  # since it last changed

    def after(self, finite: Array) -> "LossScale":
        """Half after an overflow, double after `DOUBLE_AFTER` steps without."""
        good_steps = jnp.where(finite, self.good_steps + 1, 0)
        double = good_steps == DOUBLE_AFTER
        scale = jnp.where(double, self.scale * 2, jnp.where(finite, self.scale, self.scale / 2))
        return LossScale(jnp.clip(scale, SCALES[0], SCALES[-1]), jnp.where(double, 0, good_steps))


class TrainState(NamedTuple):
    """Parameters, their moving averages and the optimizer's own state.

    `step` counts batches, the skipped ones too, so that data and keys move on; the optimizer's
    own count, and with it the learning rate, only counts updates.
    """

    step: Int[Array, ""]
    params: Params
    ema: tuple[Params, ...]  # one tree for each decay
    opt_state: optax.OptState
    skipped: Int[Array, ""]  # steps that were not finite, in all
    skipped_in_a_row: Int[Array, ""]
    loss_scale: LossScale | None = None

    @classmethod
    def create(
        cls,
        params: Params,
        tx: optax.GradientTransformation,
        *,
        averages: int = 1,
        scale_loss: bool = False,
    ) -> "TrainState":
        """The state before the first step.

        Args:
            params: float32, whatever the network computes in.
            tx: the optimizer.
            averages: how many moving averages are kept.
            scale_loss: whether the loss is scaled, for networks in float16.
        """
        zero = lambda: jnp.zeros((), jnp.int32)  # copies: donating one must not free another
        ema = tuple(jax.tree.map(jnp.copy, params) for _ in range(averages))
        scale = LossScale(jnp.float32(SCALES[1]), zero()) if scale_loss else None
        return cls(zero(), params, ema, tx.init(params), zero(), zero(), scale)


def train_step(
    state: TrainState,
    batch: Any,
    key: Key[Array, ""],
    *,
    loss_fn: Loss,
    tx: optax.GradientTransformation,
    ema_decays: tuple[float, ...],
    accumulate: int = 1,
) -> tuple[TrainState, dict[str, Array]]:
    """One update. Under jit the means in `loss_fn` are global: no pmean, no axis names.

    A loss or gradient that is not finite changes nothing but the counts, and float16's scale.
    The moving averages start quickly (Tensorflow's rule (1 + n) / (10 + n)), so that a short run
    is not an average over its own random start.

    Args:
        state: may be donated.
        batch: any tree whose leaves lead with the batch.
        key: the run's; step n uses fold_in(key, n).
        loss_fn: (params, batch, key) to a mean over the batch, and metrics.
        tx: the optimizer.
        ema_decays: one decay for each of `state.ema`.
        accumulate: number of parts in which the batch goes through the network, one after the
            other. A step stays one update, so count, averages, schedule and data are the same.

    Returns:
        The next state, and the metrics of the step.
    """
    key = jax.random.fold_in(key, state.step)
    scale = 1.0 if state.loss_scale is None else state.loss_scale.scale
    grads, found = _gradients(loss_fn, state.params, batch, key, scale, accumulate)
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(found["loss"]) & jnp.isfinite(grad_norm)

    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = tuple(
        _averaged(average, params, jnp.minimum(decay, (1.0 + state.step) / (10.0 + state.step)))
        for average, decay in zip(state.ema, ema_decays, strict=True)
    )
    params, ema, opt_state = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old),
        (params, ema, opt_state),
        (state.params, state.ema, state.opt_state),
    )
    found |= {"grad_norm": grad_norm, "nonfinite": 1.0 - finite}
    if state.loss_scale is not None:
        found["loss_scale"] = state.loss_scale.scale
    return TrainState(
        state.step + 1,
        params,
        ema,
        opt_state,
        state.skipped + ~finite,
        jnp.where(finite, 0, state.skipped_in_a_row + 1),
        None if state.loss_scale is None else state.loss_scale.after(finite),
    ), found


def _averaged(average: Params, params: Params, decay: Array) -> Params:
    # In this form parameters that never change have an average that never changes.
    return jax.tree.map(lambda old, new: old + (1.0 - decay) * (new - old), average, params)


def _gradients(
    loss_fn: Loss, params: Params, batch: Any, key: Array, scale: Scalar, accumulate: int
) -> tuple[Params, dict[str, Array]]:
    """Mean gradients over the parts of a batch, and their metrics with the loss."""

    def part(batch: Any, key: Array) -> tuple[Params, dict[str, Array]]:
        def scaled(params: Params):
            loss, found = loss_fn(params, batch, key)
            return loss * scale, found | {"loss": loss}

        grads, found = jax.grad(scaled, has_aux=True)(params)
        return jax.tree.map(lambda g: g / scale, grads), found

    if accumulate == 1:
        return part(batch, key)
    # Strided, so that each part is split over the devices like the whole batch.
    parts = jax.tree.map(lambda a: _split(a, accumulate), batch)

    def add(total: Params, numbered: tuple[Array, Any]) -> tuple[Params, dict[str, Array]]:
        n, batch = numbered
        grads, found = part(batch, jax.random.fold_in(key, n))
        return jax.tree.map(jnp.add, total, grads), found

    zeros = jax.tree.map(jnp.zeros_like, params)
    total, found = jax.lax.scan(add, zeros, (jnp.arange(accumulate), parts))
    return jax.tree.map(lambda g: g / accumulate, total), quartiles.average(found)


def _split(a: Array, accumulate: int) -> Array:
    if a.shape[0] % accumulate:
        raise InputError(
            f"accumulate is {accumulate}; it must divide the batch, which has {a.shape[0]} images."
        )
    return a.reshape(-1, accumulate, *a.shape[1:]).swapaxes(0, 1)
