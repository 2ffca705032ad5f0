"""Seconds that a step waits: for data, for the device, for a checkpoint."""

import collections
import contextlib
import time
from collections.abc import Iterator


class Timing:
    """Adds up what the loop and its hooks wait for.

    "data" is waiting for a batch. "device" is waiting for a step; a host that does so little is the
    slow one. "checkpoint" is copying a state, and waiting for the writing of the one before.
    """

    def __init__(self):
        self._seconds: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """Counts the time inside as a kind of waiting."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[kind] += time.monotonic() - began  # type: ignore[assignment]

    def take(self) -> collections.Counter[str]:
        """The sums so far, by kind; they begin again."""
        taken, self._seconds = self._seconds, collections.Counter()
        return taken


def spread(hosts: list[list[float]]) -> dict[str, float | int]:
    """The timing fields of a line, from each host's [seconds a step, own part, stall, checkpoint].

    Hosts wait for each other in every step, so the slow one is known by its own part, not by how
    long its steps take.
    """
    step, own, stall, checkpoint = zip(*hosts, strict=True)
    line: dict[str, float | int] = dict(
        step_s=max(step), stall=max(stall), checkpoint_s=max(checkpoint)
    )
    if len(hosts) > 1:
        line |= dict(step_s_min=min(step), host_s_min=min(own), host_s=max(own))
        line["slowest_host"] = own.index(max(own))
    return line
