"""A look at a few steps from inside: SIGUSR1 records a trace of the next ones."""

import contextlib
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator

import jax

from glide_jax.training.loop import Metrics
from glide_jax.training.step import TrainState

STEPS = 3


class Profiler:
    """A hook that records steps when it is asked to; TensorBoard and Perfetto show the trace.

    Args:
        folder: a trace that begins with step N is its subfolder step_N.
        say: told of each trace.
    """

    def __init__(self, folder: pathlib.Path, say: Callable[[str], None]):
        self.folder, self.say = folder, say
        self.wanted = False
        self._until = 0  # the last step of the trace that is recorded; 0 if none is

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """After each step."""
        if self._until and step >= self._until:
            jax.block_until_ready(state.step)
            self.close()
        elif self.wanted and not self._until:
            self.wanted = False
            jax.block_until_ready(state.step)  # of earlier steps nothing is in the trace
            path = self.folder / f"step_{step + 1:06d}"
            jax.profiler.start_trace(str(path))
            self._until = step + STEPS
            self.say(f"profile: {STEPS} steps into {path}")

    def close(self) -> None:
        """Ends a trace under way."""
        if self._until:
            self._until = 0
            jax.profiler.stop_trace()


@contextlib.contextmanager
def on_signal(profiler: Profiler) -> Iterator[Profiler]:
    """SIGUSR1 asks for a trace; without the handler it would end the process."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield profiler
        return

    def hear(*_: object) -> None:
        profiler.wanted = True

    old = signal.signal(number, hear)
    try:
        yield profiler
    finally:
        signal.signal(number, old)
        profiler.close()
