"""Times of calls that are run in turn, so that what disturbs one disturbs all."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Clock = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of each round of one call."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round's."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Distance of the quartiles, as a share of the median."""
        low, high = quartiles(self.seconds)
        return (high - low) / self.median

    def ratio(self, other: "Times") -> tuple[float, float, float]:
        """How many times faster this is than `other`: the rounds' median and quartiles.

        Rounds are compared in pairs, since what slows a machine for seconds slows both of a pair.
        """
        pairs = [b / a for a, b in zip(self.seconds, other.seconds, strict=True)]
        return statistics.median(pairs), *quartiles(pairs)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The values that a quarter and three quarters are under."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def in_turn(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    tick: Callable[[], Any] = lambda: None,
    clock: Clock = time.perf_counter,
) -> dict[str, Times]:
    """Runs every call once a round, A B A B, after one round that is not counted.

    Args:
        calls: each returns when its work is done, so one of JAX's blocks until ready.
        rounds: how many are counted, at least 1.
        tick: called after every call.
        clock: the time in seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            began = clock()
            call()
            if turn:
                seconds[name].append(clock() - began)
            tick()
    return {name: Times(tuple(found)) for name, found in seconds.items()}
