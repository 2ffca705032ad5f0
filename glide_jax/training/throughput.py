"""Where the seconds of a step go: waiting for data, waiting for the device, saving."""

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple


class Seconds(NamedTuple):
    """Since the last line of the log."""

    data: float = 0.0  # the loop waited for a batch
    device: float = 0.0  # it waited for a step; a host that does so little is the slow one
    checkpoint: float = 0.0  # it copied a state, and waited for the writing of the one before


class Timing:
    """Adds up what the loop and its hooks wait for."""

    def __init__(self):
        self._seconds = Seconds()

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """What happens inside counts as `what`, a field of `Seconds`."""
        began = time.monotonic()
        try:
            yield
        finally:
            passed = getattr(self._seconds, what) + time.monotonic() - began
            self._seconds = self._seconds._replace(**{what: passed})

    def take(self) -> Seconds:
        """The sums so far, which begin again."""
        taken, self._seconds = self._seconds, Seconds()
        return taken


def spread(hosts: list[list[float]]) -> dict[str, float | int]:
    """What a line of the log tells of [seconds a step, of them its own, stall, checkpoint] each.

    Hosts wait for each other in every step, so the slow one is known by what it does itself, not
    by how long its steps take.
    """
    step, own, stall, checkpoint = zip(*hosts, strict=True)
    line: dict[str, float | int] = {
        "step_s": max(step), "stall": max(stall), "checkpoint_s": max(checkpoint)
    }  # fmt: skip
    if len(hosts) > 1:
        line |= {
            "step_s_min": min(step),
            "host_s_min": min(own),
            "host_s": max(own),
            "slowest_host": own.index(max(own)),
        }
    return line
