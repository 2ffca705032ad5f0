"""A line from every host to host 0: meetings, heartbeats, and who was lost. No JAX in it."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from glide_jax import checks
from glide_jax.errors import InputError

_HELLO = "glide_jax"
_RETRY_SECONDS = 0.2
_PATIENCE = 1.0  # seconds that a host has to find the fault by itself which another tells of
_SHOWN = 3  # fields that differ, and hosts with one value, before "more"


class _Line:
    """JSON objects, one a line, over a socket."""

    def __init__(self, connection: socket.socket, silence: float):
        connection.settimeout(silence)  # what reads longer than that without a word is lost
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._lock = connection, threading.Lock()
        self._file = connection.makefile("r", encoding="utf-8")

    def send(self, message: Mapping[str, Any]) -> None:
        """Whether it arrives is for the reader of the other direction to notice."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.sendall((json.dumps(message) + "\n").encode())

    def receive(self) -> dict[str, Any]:
        """The next message; OSError if there is none in time or the line is cut."""
        line = self._file.readline()
        if not line.endswith("\n"):
            raise ConnectionResetError("its connection closed")
        try:
            return json.loads(line)
        except ValueError:
            raise ConnectionResetError("what it sent is not ours") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Roster:
    """This host's end of the lines; host 0 has one to each other, and decides.

    Args:
        host: of host 0.
        port: on it.
        count: of hosts.
        index: of this one.
        heartbeat: seconds of silence after which a host is lost.
        lost: called once, in a thread, with a sentence on what happened.
    """

    def __init__(
        self,
        host: str,
        port: int,
        count: int,
        index: int,
        heartbeat: float,
        lost: Callable[[str], None],
    ):
        self._host, self._port, self._count, self._index = host, port, count, index
        self._heartbeat, self._lost = heartbeat, lost
        self._changed = threading.Condition()
        self._lines: dict[int, _Line] = {}  # on host 0 of all others; elsewhere of 0
        self._names = {index: socket.gethostname()}
        self._here: dict[str, dict[int, Any]] = {}  # meeting: what each host brings; on host 0
        self._deadlines: dict[str, float] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self._met: dict[str, int] = {}
        self._ended = False
        self._server: socket.socket | None = None

    def open(self, wait: float) -> None:
        """Finds the others.

        Raises:
            InputError: one is not there in `wait` seconds.
        """
        if self._index == 0:
            try:
                self._server = _server(self._port)
            except OSError as error:
                raise InputError(
                    f"--coordinator's port {self._port - 1} and the one after it must be free on "
                    f"host 0, and {self._port} is not ({error.strerror})."
                ) from None
            self._thread(self._accept)
        else:
            self._lines[0] = self._reach(wait)
            self._thread(self._read, 0)
        self._thread(self._beat)
        names = self._meet("the start", "gather", self._names[self._index], wait)
        self._names = dict(enumerate(names))

    def agree(self, what: str, facts: Mapping[str, Any], seconds: float) -> None:
        """Returns when all are here with equal facts; see `Hosts.agree`."""
        self._meet(what, "agree", dict(facts), seconds)

    def gather(self, what: str, value: Any, seconds: float) -> list[Any]:
        """Every host's value, in order."""
        return self._meet(what, "gather", value, seconds)

    def fail(self, why: str) -> None:
        """Tells the others that this host ends, and why."""
        with self._changed:
            told, self._ended = self._ended, True
        if not told:
            said = {"lost": f"{self._named(self._index)} stopped: {why}", "patience": _PATIENCE}
            for line in list(self._lines.values()):
                line.send(said)
        if self._index == 0:  # whose end also ends JAX's service, which aborts those left
            time.sleep(2 * _PATIENCE)
        self.close()

    def close(self) -> None:
        """Cuts the lines; nobody is lost by it any more."""
        self._ended = True
        for line in list(self._lines.values()):
            line.close()
        if self._server is not None:
            self._server.close()

    def _thread(self, run: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=run, args=args, daemon=True).start()

    def _named(self, index: int) -> str:
        name = self._names.get(index)
        return f"host {index}" if name is None else f"host {index} ({name})"

    def _reach(self, wait: float) -> _Line:
        """The line to host 0, which may start later."""
        end = time.monotonic() + wait
        while True:
            try:
                connection = socket.create_connection((self._host, self._port), timeout=5.0)
                break
            except OSError as error:
                if time.monotonic() > end:
                    raise InputError(
                        f"host 0 does not answer at {self._host}:{self._port} after {wait:g} s "
                        f"({error.strerror or error}); start it with the same --coordinator, and "
                        "let that port through."
                    ) from None
                time.sleep(_RETRY_SECONDS)
        line = _Line(connection, self._heartbeat)
        line.send({_HELLO: self._index, "count": self._count, "name": self._names[self._index]})
        return line

    def _accept(self) -> None:
        assert self._server is not None, "set by `open` before this thread starts"
        while not self._ended:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            self._thread(self._welcome, _Line(connection, self._heartbeat))

    def _welcome(self, line: _Line) -> None:
        """Host 0 learns who is at the other end; a stranger is left alone."""
        try:
            hello = line.receive()
            index, name = int(hello[_HELLO]), str(hello["name"])
        except (OSError, KeyError, ValueError, TypeError):
            line.close()
            return
        if hello.get("count") != self._count:
            self._end(f"--num-processes is {hello.get('count')} on host {index} ({name}) and "
                      f"{self._count} on {self._named(0)}", also=line)  # fmt: skip
        elif not 0 < index < self._count or index in self._lines:
            other = self._named(0 if index == 0 else index)
            self._end(f"--process-id is {index} on {name} and on {other}", also=line)
        else:
            self._names[index], self._lines[index] = name, line
            self._read(index)

    def _read(self, index: int) -> None:
        """What comes over a line, until it is cut."""
        line = self._lines[index]
        while True:
            try:
                message = line.receive()
            except OSError as error:
                silent = isinstance(error, TimeoutError)
                why = f"not heard of for {self._heartbeat:g} s" if silent else "lost"
                self._end(f"{self._named(index)} was {why}")
                return
            if "lost" in message:
                self._end(message["lost"], message.get("patience", 0.0))
            elif "at" in message:
                self._arrive(index, message)
            elif "met" in message:
                with self._changed:
                    self._results[message["met"]] = message
                    self._ended |= message["last"]
                    self._changed.notify_all()

    def _beat(self) -> None:
        while not self._ended:
            for line in list(self._lines.values()):
                line.send({})
            now = time.monotonic()
            for meeting, deadline in list(self._deadlines.items()):
                if now > deadline:
                    self._give_up(meeting)
            time.sleep(min(self._heartbeat / 5, 1.0))

    def _end(self, why: str, patience: float = 0.0, also: _Line | None = None) -> None:
        """A host is lost, which ends all."""
        time.sleep(patience)
        with self._changed:
            if self._ended:
                return
            self._ended = True
        for line in [*self._lines.values(), *([] if also is None else [also])]:
            line.send({"lost": why})
        time.sleep(_PATIENCE if self._index == 0 else 0.0)  # as in `fail`
        self._lost(why)

    def _meet(self, what: str, kind: str, value: Any, seconds: float) -> Any:
        number = self._met[what] = self._met.get(what, 0) + 1
        meeting = f"{what} {number}"
        message = {"at": meeting, "kind": kind, "value": value, "seconds": seconds}
        if self._index == 0:
            self._arrive(0, message)
        else:
            self._lines[0].send(message)
        with self._changed:
            self._changed.wait_for(lambda: meeting in self._results)
            result = self._results.pop(meeting)
        if result["fault"] is not None:
            raise InputError(result["fault"])
        return result["all"]

    def _arrive(self, index: int, message: Mapping[str, Any]) -> None:
        """Host 0 counts who is there, and tells all when the last has come."""
        meeting = message["at"]
        with self._changed:
            here = self._here.setdefault(meeting, {})
            here[index] = message["value"]
            self._deadlines.setdefault(meeting, time.monotonic() + message["seconds"])
            if len(here) < self._count:
                return
            self._deadlines.pop(meeting, None)
        if message["kind"] == "gather":
            self._tell(meeting, everything=[here[k] for k in range(self._count)])
        else:
            self._tell(meeting, fault=difference(here, self._named))

    def _give_up(self, meeting: str) -> None:
        with self._changed:
            if self._deadlines.pop(meeting, None) is None:
                return
            missing = [k for k in range(self._count) if k not in self._here[meeting]]
        what = meeting.rpartition(" ")[0]
        self._tell(
            meeting,
            fault=f"{_several([self._named(k) for k in missing])} did not come to {what} in time; "
            "see the log there, and start all hosts with the same --coordinator.",
        )

    def _tell(self, meeting: str, everything: Any = None, fault: str | None = None) -> None:
        last = fault is not None or meeting.startswith("the end ")  # nobody is lost after this
        message = {"met": meeting, "all": everything, "fault": fault, "last": last}
        with self._changed:  # before anybody, told that it is over, cuts a line
            self._ended |= last
        for line in list(self._lines.values()):
            line.send(message)
        with self._changed:
            self._here.pop(meeting, None)
            self._results[meeting] = message
            self._changed.notify_all()


def difference(facts: Mapping[int, Mapping[str, Any]], named: Callable[[int], str]) -> str | None:
    """A sentence on what differs between hosts, and on which; None if nothing does."""
    differing = []
    for name in dict.fromkeys(name for k in sorted(facts) for name in facts[k]):
        groups: dict[str, list[int]] = {}
        for k in sorted(facts):
            groups.setdefault(json.dumps(facts[k].get(name), sort_keys=True), []).append(k)
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


def _server(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
