"""HTTP for one file, towards servers of which nothing is believed: every wait for them ends."""

import contextlib
import http.client
import math
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator

from glide_jax import checks
from glide_jax.errors import InputError

LOWEST_RATE = 1000  # bytes a second, over the time in which an answer must come
_HEAD_LINES = 500  # more than any server's head has; 100 Continue may come again and again


class _Response(http.client.HTTPResponse):
    """An answer whose head ends."""

    def begin(self) -> None:
        lines, read = iter(range(_HEAD_LINES)), self.fp.readline

        def readline(size: int | None = -1, /) -> bytes:
            if next(lines, None) is None:
                raise InputError("the server's answer begins and never ends: use another URL.")
            return read(size)

        self.fp.readline = readline  # pyright: ignore
        try:
            super().begin()
        finally:
            if self.fp is not None:
                self.fp.readline = read  # pyright: ignore


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from an encrypted connection to an open one."""

    def redirect_request(self, req, *answer):
        """The next request, or none; the base class says what it is given."""
        newurl = answer[-1]
        allowed = ("https:",) if req.full_url.startswith("https:") else ("http:", "https:")
        if not newurl.lower().startswith(allowed):
            host = checks.printable(urllib.parse.urlsplit(req.full_url).hostname or "")
            raise InputError(f"{host} leads on to an unencrypted address: use another URL.")
        return super().redirect_request(req, *answer)

    def http_error_302(self, req, fp, *answer):
        """Follows one redirect, without its page, which may have no end."""
        fp.close()
        headers = answer[-1]
        try:
            return super().http_error_302(req, fp, *answer)
        except (InputError, OSError):
            raise
        except (ValueError, http.client.InvalidURL):
            where = checks.shown(headers.get("location") or headers.get("uri"))
            host = checks.printable(urllib.parse.urlsplit(req.full_url).hostname or "")
            raise InputError(f"{host} leads on to {where}, which is no address.") from None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302  # pyright: ignore


class Watch:
    """Opens an address, and cuts the connection when too little comes.

    Args:
        timeout: seconds. In each span of so many, `LOWEST_RATE` bytes must come for each second.
        done: returns the bytes that have come.
        until: when it is cut in any case, by `time.monotonic`.
    """

    def __init__(self, timeout: float, done: Callable[[], int], until: float = math.inf):
        self.cut = self.late = False
        self._timeout, self._done, self._until = timeout, done, until
        self._sockets: list[socket.socket] = []
        watch = self

        class Plain(http.client.HTTPConnection):
            response_class = _Response

            def connect(self) -> None:
                super().connect()
                watch._sockets.append(self.sock)

        class Encrypted(http.client.HTTPSConnection):
            response_class = _Response

            def connect(self) -> None:
                super().connect()
                watch._sockets.append(self.sock)

        class OpenPlain(urllib.request.HTTPHandler):
            def http_open(self, req):
                return self.do_open(Plain, req)

        class OpenEncrypted(urllib.request.HTTPSHandler):
            def https_open(self, req):
                return self.do_open(Encrypted, req)

        self._opener = urllib.request.build_opener(_Redirects, OpenPlain, OpenEncrypted)

    @contextlib.contextmanager
    def open(self, request: urllib.request.Request) -> Iterator[http.client.HTTPResponse]:
        """Yields the answer; `cut` is true afterwards where the connection had to be cut.

        Raises:
            OSError: the connection failed, was cut, or the server answered with an error.
            http.client.HTTPException: the answer is malformed.
            InputError: it will be so each time.
        """
        stop = threading.Event()
        thread = threading.Thread(target=self._look, args=(stop,), daemon=True)
        thread.start()
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                yield response
        finally:
            stop.set()
            thread.join()

    def _look(self, stop: threading.Event) -> None:
        before = self._done()
        while not stop.wait(max(0.0, min(self._timeout, self._until - time.monotonic()))):
            now = self._done()
            self.late = time.monotonic() >= self._until
            if self.late or now - before < LOWEST_RATE * self._timeout:
                self.cut = True
                for one in self._sockets:
                    with contextlib.suppress(OSError):  # it may be closed already
                        socket.socket.shutdown(one, socket.SHUT_RDWR)
                return
            before = now
