"""The loop: batches in, updates on the device, and hooks that look now and then."""

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
    """Trains until step `num_steps`, or until `stopping` says so; the last step is a whole one.

    Nothing in it reads from the device: a step is only put in line behind the one before.

    Args:
        step_fn: (state, batch, key) to the next state and metrics; may donate the state.
        state: of the step to go on from.
        batches: of the steps that follow it, on the device.
        hooks: called after each step in this order; see `hooks.every`.
        key: of the run.
        num_steps: in all, with those that `state` has behind it.
        stopping: asked after each step.
        timing: told what is waited for.
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
