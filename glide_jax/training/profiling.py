"""Traces of a few steps: SIGUSR1 records the next ones."""

import contextlib
import pathlib
import signal
from collections.abc import Callable, Iterator

import jax

from glide_jax.training.hooks import handling
from glide_jax.training.loop import Metrics
from glide_jax.training.step import TrainState

STEPS = 3


class Profiler:
    """A hook that records steps on request; TensorBoard and Perfetto show the trace.

    Args:
        folder: a trace that begins with step N is its subfolder step_N.
        say: gets a line for each trace.
    """

    def __init__(self, folder: pathlib.Path, say: Callable[[str], None]):
        self.folder, self.say = folder, say
        self.wanted = False
        self._until = 0  # the last step of the trace that is recorded; 0 if none is

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Starts or ends a trace after a step, if one is wanted or complete."""
        if self._until and step >= self._until:
            jax.block_until_ready(state.step)
            self.close()
        elif self.wanted and not self._until:
            self.wanted = False
            jax.block_until_ready(state.step)  # keeps earlier steps out of the trace
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
    def on_signal(self) -> Iterator[None]:
        """SIGUSR1 requests a trace; without the handler it would end the process."""

        def request(*_: object) -> None:
            self.wanted = True

        with handling([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [], request):
            try:
                yield
            finally:
                self.close()
