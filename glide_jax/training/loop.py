"""The loop: batches in, updates on the device, hooks after each step."""

import collections
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jaxtyping import Array, Key

from glide_jax.training.step import TrainState
from glide_jax.training.throughput import Timing

Metrics = dict[str, Array]
Hook = Callable[[int, TrainState, Metrics], None]

# Steps that are started before the first of them is done: enough that the device never waits, few
# enough that their batches fit beside it and that a signal is answered soon.
_MOST_AHEAD = 2


def fit(
    step_fn: Callable[[TrainState, Any, Array], tuple[TrainState, Metrics]],
    state: TrainState,
    batches: Iterator[Any],
    hooks: Sequence[Hook],
    *,
    key: Key[Array, ""],
    num_steps: int,
    stopping: Callable[[], bool] = lambda: False,
    timing: Timing | None = None,
) -> TrainState:
    """Trains until step `num_steps`, or until `stopping` is true after a whole step.

    Nothing in it reads from the device: a step is only queued behind the one before.

    Args:
        step_fn: (state, batch, key) to the next state and metrics; may donate the state.
        state: the one to go on from.
        batches: those of the steps that follow, on the device.
        hooks: called after each step in this order; see `hooks.every`.
        key: the run's.
        num_steps: the last step, counted from the run's beginning.
        stopping: called after each step; true ends the loop.
        timing: adds up the seconds of waiting.
    """
    timing = timing or Timing()
    ahead: collections.deque[Array] = collections.deque()
    for step in range(int(state.step) + 1, num_steps + 1):
        with timing.of("data"):
            batch = next(batches)
        state, metrics = step_fn(state, batch, key)
        for hook in hooks:
            hook(step, state, metrics)
        ahead.append(metrics["loss"])
        if len(ahead) > _MOST_AHEAD:
            with timing.of("device"):
                jax.block_until_ready(ahead.popleft())
        if stopping():
            break
    return state
