"""An application under uvicorn: the address, patience with slow clients, and an orderly end."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from glide_jax import checks
from glide_jax.errors import InputError

_HEAD_SECONDS = 10.0  # in which the head of a request must be there
_TAKE_SECONDS = 60.0  # in which a client must go on reading an answer
_LAST_SECONDS = 5.0  # from the second signal to the end
_KEEP_SECONDS = 10  # for which a connection waits for another request
_MOST_CONNECTIONS = 800  # at once; a process may usually have 1024 files
_BACKLOG = 1024  # connections that wait to be accepted


class Site:
    """An application behind an address.

    Attributes:
        url: where it answers, without a slash at the end.
    """

    def __init__(self, app: Any, host: str, port: int, *, patience: float = 10.0):
        """Takes the address.

        Args:
            app: an ASGI application.
            host: a name or number of this machine.
            port: 0 is any that is free.
            patience: the seconds that requests have to finish once the site is to end.

        Raises:
            InputError: the address cannot be had.
        """
        self._listener = _listener(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(
            app, http=_Protocol, ws="none", log_level="error", access_log=False,
            server_header=False, proxy_headers=False, timeout_keep_alive=_KEEP_SECONDS,
            timeout_graceful_shutdown=int(patience),
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._cut = threading.Timer(_LAST_SECONDS, self._cut_off)
        self._cut.daemon = True

    def run(
        self,
        ready: Callable[[], None] = lambda: None,
        ending: Callable[[], None] = lambda: None,
        at_once: Callable[[], None] = lambda: None,
    ) -> None:
        """Serves until a signal: the first one lets requests finish, the second one ends them.

        What has no answer a few seconds after the second one is cut off.

        Args:
            ready: called once requests are answered.
            ending: called before the wait for requests.
            at_once: called on the second signal.
        """
        server = self._server
        first, started, ended = server.handle_exit, server.startup, server.shutdown

        def handle_exit(sig: int, frame: FrameType | None) -> None:
            if not server.should_exit:
                first(sig, frame)
            elif self._cut.ident is None:  # it has not begun
                at_once()
                self._cut.start()
            else:
                self._cut_off()

        async def startup(*args: Any, **options: Any) -> None:
            await started(*args, **options)
            ready()

        async def shutdown(*args: Any, **options: Any) -> None:
            ending()
            await ended(*args, **options)

        server.handle_exit, server.startup, server.shutdown = handle_exit, startup, shutdown
        try:
            server.run([self._listener])
        finally:
            self._cut.cancel()
            self.close()

    def stop(self) -> None:
        """Lets requests finish and ends `run`; for another thread."""
        self._server.should_exit = True

    def close(self) -> None:
        """Gives the address back."""
        self._listener.close()

    def _cut_off(self) -> None:
        """Ends `run` without what is still being answered, of which uvicorn would write pages."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server.force_exit = True


class _Protocol(H11Protocol):
    """Uvicorn's, which by itself waits for ever for a head, and for a client that does not read."""

    _head: asyncio.TimerHandle | None = None  # runs while the head of a request is to come
    _taking: asyncio.TimerHandle | None = None  # runs while an answer waits to be read

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > _MOST_CONNECTIONS:
            transport.abort()
        else:
            self._head = self.loop.call_later(_HEAD_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head = _cancelled(self._head)
        elif self._head is None:
            self._head = self.loop.call_later(_HEAD_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        _cancelled(self._taking)
        self._taking = self.loop.call_later(_TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taking = _cancelled(self._taking)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head, self._taking = _cancelled(self._head), _cancelled(self._taking)
        super().connection_lost(exc)


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _listener(host: str, port: int) -> socket.socket:
    """The socket of an address.

    Raises:
        InputError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, ValueError) as error:  # the latter for what can be no name
        why = getattr(error, "strerror", None) or "it is no name of a machine"
        why = why.split(" (while")[0]  # where Python repeats the address
        raise InputError(f"port {port} of {checks.shown(host)} cannot be used: {why}.") from None
