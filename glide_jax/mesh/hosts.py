"""Many hosts that run one program: they start together, agree, stop together and end together.

All of it is JAX's multi-controller runtime. `jax.distributed.initialize` starts its coordination
service on host 0, which watches every host by heartbeats. JAX reports a missing or lost host by
aborting the process, so `join` turns an abort into a sentence and an exit code.
"""

import atexit
import collections
import contextlib
import ctypes
import json
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from orbax.checkpoint import multihost

from glide_jax import checks
from glide_jax.errors import InputError

LOST = 75  # EX_TEMPFAIL in BSD's sysexits.h, "try again later"; schedulers restart on it
MEETING_SECONDS = 3600.0  # the slowest host may compile or write so much longer than the fastest
_PARTING_SECONDS = 10.0  # a host that ends waits so long for the others to end for the same reason
_VERDICT_SECONDS = 10.0  # JAX reports a lost host within so long after the heartbeat timeout
_VOTE_DELAY = 2  # a vote is read this many steps after it was cast, when its result is long there
_SHOWN = 3  # fields that differ, and hosts with one value, before "more"
_handlers: list[Any] = []  # handlers of SIGABRT, kept alive because C holds no reference


class Place(NamedTuple):
    """Where the hosts meet and which one this is; JAX finds in the cluster what is None.

    Attributes:
        coordinator: HOST:PORT of host 0.
        count: number of hosts.
        index: this host's number, from 0.
        heartbeat: seconds without a sign of life after which JAX gives a host up.
        wait: seconds that the first host waits for the last to start.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None
    heartbeat: float = 30.0
    wait: float = 300.0


class Hosts:
    """This process among the others of its run; when it is alone, nothing waits or is sent.

    Args:
        many: whether JAX's distributed runtime is started.
    """

    def __init__(self, many: bool = False):
        self._many = many
        self._names: list[str] = []
        self._meetings: collections.Counter[str] = collections.Counter()

    @property
    def count(self) -> int:
        """Number of hosts; starts JAX's backend when there are several."""
        return jax.process_count() if self._many else 1

    @property
    def index(self) -> int:
        """This host's number, 0 ... count - 1."""
        return jax.process_index() if self._many else 0

    @property
    def leads(self) -> bool:
        """Whether this host prints, and writes what is written once."""
        return self.index == 0

    def agree(self, what: str, facts: Mapping[str, Any], seconds: float = MEETING_SECONDS) -> None:
        """Returns when all hosts are here and have the same facts.

        Args:
            what: what the hosts agree on, for messages.
            facts: JSON-able values, compared by name.
            seconds: how long the first host waits for the last.

        Raises:
            InputError: on every host, if a host differs or did not come; names it.
        """
        rows = self.gather(what, [socket.gethostname(), dict(facts)], seconds)
        self._names = [name for name, _ in rows]
        fault = difference([row for _, row in rows], self._named)
        if fault:
            raise InputError(fault)

    def barrier(self, what: str, seconds: float = MEETING_SECONDS) -> None:
        """Returns when all hosts are here.

        Raises:
            InputError: on every host, if a host did not come; names it.
        """
        if not self._many:
            return
        self._meetings[what] += 1  # a barrier's key is used once
        key = f"glide_jax: {what} {self._meetings[what]}"
        try:
            multihost.get_barrier_sync_fn()(key=key, timeout_ms=math.ceil(seconds * 1000))
        except jax.errors.JaxRuntimeError as error:
            if "Barrier timed out" not in str(error):
                raise
            late = [self._named(k) for k in late_hosts(str(error))]
            raise InputError(
                f"{_several(late) or 'a host'} did not come to {what} in time; see the log there."
            ) from None

    def gather(self, what: str, value: Any, seconds: float = MEETING_SECONDS) -> list[Any]:
        """Every host's value in the order of hosts, on every host.

        Args:
            what: what is gathered, for messages.
            value: a JSON-able value of this host.
            seconds: how long the first host waits for the last.

        Raises:
            InputError: on every host, if a host did not come; names it.
        """
        if not self._many:
            return [value]
        self.barrier(what, seconds)
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        sizes = multihost_utils.process_allgather(np.int32(text.size))
        padded = np.zeros(1 << int(sizes.max()).bit_length(), np.uint8)  # few programs to compile
        padded[: text.size] = text
        rows = multihost_utils.process_allgather(padded)
        return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)]

    def _named(self, index: int) -> str:
        name = f" ({self._names[index]})" if self._names else ""
        return f"host {index}{name}"


ALONE = Hosts()


@contextlib.contextmanager
def join(place: Place | None, *, say: Callable[[str], None]) -> Iterator[Hosts]:
    """Starts JAX over all hosts, and ends this host when another one is lost.

    It must come before the first use of a device. A host that is lost inside ends all others
    with a sentence and `LOST`; so does a host that leaves by an exception of its own.

    Args:
        place: where this host stands; None, or the only one of its run, starts nothing.
        say: prints the sentence of a process that JAX aborts.

    Raises:
        InputError: JAX cannot find the other hosts.
    """
    if place is None or place.count == 1:
        yield ALONE
        return
    hosts = "the hosts" if place.count is None else f"the {place.count} hosts"
    at = "" if place.coordinator is None else f" {place.coordinator}, which all of them reach,"
    ending = (
        f"glide-jax: not all of {hosts} came to the start within {place.wait:g} s; start each "
        f"with the same --coordinator{at} and a --process-id of its own.",
        2,
    )

    def aborted(_: int) -> None:
        say(ending[0])
        _end(ending[1])

    _on_abort(aborted)
    _start(place)
    ending = (
        "glide-jax: JAX has lost another host, or aborted for what it printed above; this host "
        "ends too, and the same command on all of them goes on from the newest checkpoint.",
        LOST,
    )
    try:
        yield Hosts(many=True)
        jax.distributed.shutdown()  # when all are here
    except BaseException as error:
        expected = isinstance(error, InputError | OSError | KeyboardInterrupt)
        if not expected:  # the loss of a host breaks collectives before JAX reports it
            time.sleep(place.heartbeat + _VERDICT_SECONDS)
        code = 130 if isinstance(error, KeyboardInterrupt) else 2 if expected else 1
        ending = (f"glide-jax: {error or type(error).__name__}", code)
        parting = threading.Thread(target=jax.distributed.shutdown, daemon=True)
        parting.start()  # a mistake in a config, say, ends all hosts at the same time
        parting.join(_PARTING_SECONDS)
        if parting.is_alive():  # at exit JAX would wait for the others
            atexit.register(_end, code)  # runs before JAX's, which was registered earlier
            raise
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        raise
    signal.signal(signal.SIGABRT, signal.SIG_DFL)


def _start(place: Place) -> None:
    if jax.config.jax_platforms in (None, "", "cpu"):  # type: ignore[attr-defined]
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # SIGTERM is answered by `hooks.interruptible` and `StopVote`, not by JAX's service.
    jax.config.update("jax_enable_preemption_service", False)
    if place.index == 0 and place.coordinator is not None:  # where jaxlib 0.10 may crash instead
        port = int(place.coordinator.rpartition(":")[2])
        try:
            socket.create_server(("", port)).close()
        except OSError as error:
            raise InputError(
                f"--coordinator's port {port} must be free on host 0 ({error.strerror})."
            ) from None
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.count,
            place.index,
            cluster_detection_method=None if place.index is None else "deactivate",
            initialization_timeout=math.ceil(place.wait),
            heartbeat_timeout_seconds=math.ceil(place.heartbeat),
            shutdown_timeout_seconds=math.ceil(MEETING_SECONDS),
        )
    except (ValueError, RuntimeError) as error:
        why = str(error).split("\n")[0].rstrip(". ")
        raise InputError(
            f"JAX cannot start on several hosts ({why}); give --coordinator HOST:PORT of host 0, "
            "--num-processes and --process-id, or --coordinator none."
        ) from None


def _on_abort(handle: Callable[[int], None]) -> None:
    """Calls a function where the process would abort; Python's own handlers run too late for it."""
    _handlers.append(ctypes.CFUNCTYPE(None, ctypes.c_int)(handle))
    ctypes.CDLL(None).signal(int(signal.SIGABRT), _handlers[-1])


def _end(code: int) -> None:
    """Ends the process at once, with no handlers of exit."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


class StopVote:
    """Whether any host wants to stop, known to all hosts at the same step.

    A maximum over hosts of one number is put in line behind each step and read two steps later,
    so that nothing waits for it.

    Args:
        wants: whether this host wants to stop.
        hosts: the hosts that vote.
    """

    def __init__(self, wants: Callable[[], bool], hosts: Hosts):
        self._wants, self._alone = wants, hosts.count == 1
        self._votes: collections.deque[jax.Array] = collections.deque()
        if not self._alone:
            mesh = Mesh(np.array(jax.devices()), ("devices",))
            self._place = NamedSharding(mesh, P("devices"))
            self._any = jax.jit(lambda x: x.max(), out_shardings=NamedSharding(mesh, P()))

    def __call__(self) -> bool:
        """Casts this host's vote and reads an earlier one; every host calls it after each step."""
        if self._alone:
            return self._wants()
        mine = np.full(jax.local_device_count(), self._wants(), np.int32)
        self._votes.append(self._any(jax.make_array_from_process_local_data(self._place, mine)))
        return len(self._votes) > _VOTE_DELAY and bool(self._votes.popleft())


def whole(tree: Any) -> Any:
    """The arrays of a tree as NumPy's, on every host, wherever their parts lie; one at a time."""

    def fetch(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.asarray(leaf)

    return jax.tree.map(fetch, tree)


def late_hosts(message: str) -> list[int]:
    """The hosts that JAX's message on a barrier names, a line each, as late."""
    _, _, names = message.partition("timed out task names:\n")
    return sorted(int(number) for number in re.findall(r"^(?:\S*task:)?(\d+)$", names, re.M))


def difference(facts: list[Mapping[str, Any]], named: Callable[[int], str]) -> str | None:
    """A sentence on what differs between hosts, and on which; None if nothing does.

    Args:
        facts: the facts of each host, in the order of hosts.
        named: a host's number to its name in the sentence.
    """
    differing = []
    for name in dict.fromkeys(name for each in facts for name in each):
        groups: dict[str, list[int]] = {}
        for k, each in enumerate(facts):
            groups.setdefault(json.dumps(each.get(name), sort_keys=True), []).append(k)
        if len(groups) > 1:
            values = (
                f"{'absent' if text == 'null' else checks.shown(json.loads(text), 200)} on "
                f"{_several([named(k) for k in ks])}"
                for text, ks in groups.items()
            )
            differing.append(f"{name} is {' and '.join(values)}")
    if not differing:
        return None
    more = len(differing) - _SHOWN
    return (
        f"hosts differ, so none starts: {'; '.join(differing[:_SHOWN])}"
        f"{f'; and {more} more' if more > 0 else ''}."
    )


def _several(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
