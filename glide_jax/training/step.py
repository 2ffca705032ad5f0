"""One update: everything that changes in training is in the state, and the state is arrays only."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key

from glide_jax.types import Loss, Params


class TrainState(NamedTuple):
    """Parameters, their moving average and the optimizer's own state."""

    step: Int[Array, ""]
    params: Params
    ema: Params
    opt_state: optax.OptState

    @classmethod
    def create(cls, params: Params, tx: optax.GradientTransformation) -> "TrainState":
        """The state before the first step."""
        ema = jax.tree.map(jnp.copy, params)  # a copy: donating one must not free the other
        return cls(jnp.zeros((), jnp.int32), params, ema, tx.init(params))


def train_step(
    state: TrainState,
    batch: Any,
    key: Key[Array, ""],
    *,
    loss_fn: Loss,
    tx: optax.GradientTransformation,
    ema_decay: float,
) -> tuple[TrainState, dict[str, Array]]:
    """One update. Under jit the means in `loss_fn` are global: no pmean, no axis names.

    The moving average starts quickly (Tensorflow's rule (1 + n) / (10 + n)), so that a short run
    is not an average over its own random start.
    """
    key = jax.random.fold_in(key, state.step)
    (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params, batch, key)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
    ema = optax.incremental_update(params, state.ema, step_size=1.0 - decay)
    metrics = metrics | {"loss": loss, "grad_norm": optax.tree.norm(grads)}
    return TrainState(state.step + 1, params, ema, opt_state), metrics
