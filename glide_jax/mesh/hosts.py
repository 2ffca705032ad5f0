"""Many hosts that run one program: how they start together, agree, stop, and end when one is lost.

The engine is JAX's own multi-controller runtime; nothing here moves arrays but by it. Beside it
hosts keep a line to host 0 (`roster`), for all that JAX says by aborting the process: who is
missing, who differs from the others, who was lost.
"""

import atexit
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from glide_jax.errors import InputError
from glide_jax.mesh.roster import Roster

LOST = 75  # exit code: "try again later" among those that BSD names; schedulers restart on it
MEETING_SECONDS = 3600.0  # the slowest host may compile or write so much longer than the fastest
_AFTERMATH_SECONDS = 2.0  # in which a broken collective is explained by news of a lost host
_STEPS_LATER = 2  # an answer is read this many steps after its question, when it is long there


class Place(NamedTuple):
    """Where a process stands among the others."""

    host: str  # of process 0, reached by all
    port: int  # JAX's there; the roster has the one after it
    count: int
    index: int


class Hosts:
    """This process among the others of its run; of one alone, nothing waits and nothing is sent.

    Attributes:
        index: of this process, 0 ... count - 1.
        count: of processes.
    """

    def __init__(self, place: Place | None = None, roster: Roster | None = None):
        self.place, self._roster = place, roster
        self.index, self.count = (0, 1) if place is None else (place.index, place.count)

    @property
    def leads(self) -> bool:
        """Whether this one prints, and writes what is written once."""
        return self.index == 0

    def agree(self, what: str, facts: Mapping[str, Any], seconds: float = MEETING_SECONDS) -> None:
        """Returns when all hosts are here and have the same facts.

        Args:
            what: they agree on, as a message tells it.
            facts: JSON-able, compared by name.
            seconds: after the first that they wait for the last.

        Raises:
            InputError: on every host: one differs, or did not come; says which.
        """
        if self._roster is not None:
            self._roster.agree(what, facts, seconds)

    def barrier(self, what: str, seconds: float = MEETING_SECONDS) -> None:
        """Returns when all hosts are here.

        Raises:
            InputError: on every host: one did not come; says which.
        """
        self.agree(what, {}, seconds)

    def gather(self, what: str, value: Any) -> list[Any]:
        """Every host's value (JSON-able and small), in order; on every host."""
        if self._roster is None:
            return [value]
        return self._roster.gather(what, value, MEETING_SECONDS)

    def start_jax(self) -> None:
        """Starts JAX's runtime over all hosts; must come before the first use of a device."""
        if self.place is None:
            return
        host, port, count, index = self.place
        if jax.config.jax_platforms in (None, "", "cpu"):  # type: ignore[attr-defined]
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
        # SIGTERM is answered by `hooks.interruptible` and `Together`, not by JAX's service.
        jax.config.update("jax_enable_preemption_service", False)
        jax.distributed.initialize(
            f"{host}:{port}",
            count,
            index,
            cluster_detection_method="deactivate",
            heartbeat_timeout_seconds=100,  # the roster is sooner to know
        )


ALONE = Hosts()


@contextlib.contextmanager
def join(
    place: Place | None,
    *,
    say: Callable[[str], None],
    heartbeat: float = 30.0,
    wait: float = 300.0,
) -> Iterator[Hosts]:
    """This process among the others; when one is lost inside, all end with a sentence and `LOST`.

    An exception inside ends the others too, and tells them why.

    Args:
        place: None, or the only one, is alone: nothing is started.
        say: told of a lost host; the process ends right after.
        heartbeat: seconds without a sign of life after which a host is lost.
        wait: seconds that the first host waits for the last to start.

    Raises:
        InputError: a host did not come, or differs.
    """
    if place is None or place.count == 1:
        yield ALONE
        return

    def lost(why: str) -> None:
        say(f"glide-jax: {why}; this host ends too, and the same command on all of them goes on "
            "from the newest checkpoint.")  # fmt: skip
        _flush()
        os._exit(LOST)

    roster = Roster(place.host, place.port + 1, place.count, place.index, heartbeat, lost)
    try:
        roster.open(wait)
        hosts = Hosts(place, roster)
        yield hosts
        hosts.barrier("the end")
        roster.close()
        jax.distributed.shutdown()
    except BaseException as error:
        if not isinstance(error, InputError | OSError | KeyboardInterrupt):
            time.sleep(_AFTERMATH_SECONDS)  # `lost` may be what broke a collective, and ends here
        words = str(error).split("\n")[0].rstrip(". ")
        roster.fail(words or type(error).__name__)
        _end_without_the_others(error)
        raise


class Together:
    """Whether any host wishes to stop, known to all hosts at the same step.

    A sum over hosts of one number is put in line behind each step and read two steps later, so
    that nothing waits for it.

    Args:
        wish: of this host.
        hosts: among which it counts.
    """

    def __init__(self, wish: Callable[[], bool], hosts: Hosts):
        self._wish, self._alone = wish, hosts.count == 1
        self._asked: deque[jax.Array] = deque()
        if not self._alone:
            mesh = Mesh(np.array(jax.devices()), ("devices",))
            self._place = NamedSharding(mesh, P("devices"))
            self._any = jax.jit(lambda x: x.max(), out_shardings=NamedSharding(mesh, P()))

    def __call__(self) -> bool:
        """To be asked by every host after every step."""
        if self._alone:
            return self._wish()
        mine = np.full(jax.local_device_count(), self._wish(), np.int32)
        self._asked.append(self._any(jax.make_array_from_process_local_data(self._place, mine)))
        return len(self._asked) > _STEPS_LATER and bool(self._asked.popleft())


def whole(tree: Any) -> Any:
    """The arrays of a tree as NumPy's, on every host, wherever their parts lie; one at a time."""

    def fetch(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.asarray(leaf)

    return jax.tree.map(fetch, tree)


def _end_without_the_others(error: BaseException) -> None:
    """At exit JAX would wait for hosts that are ending; this ends the process before it does."""
    code = 130 if isinstance(error, KeyboardInterrupt) else 2
    if not isinstance(error, InputError | OSError | KeyboardInterrupt):
        code = 1

    def end() -> None:
        _flush()
        os._exit(code)

    if jax.distributed.is_initialized():
        atexit.register(end)  # those registered last run first


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
