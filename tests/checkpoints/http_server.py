"""A web server that misbehaves on order, for the download tests."""

import contextlib
import hashlib
import http.server
import re
import threading
import time
from collections.abc import Callable, Iterator

DATA = hashlib.shake_256(b"glide").digest(600_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.data` with Range and If-Range, unless an order is waiting."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append(dict(self.headers))
        self.close_connection = True
        order = self.server.orders.pop(0) if self.server.orders else serve
        with contextlib.suppress(ConnectionError):
            order(self)

    def log_message(self, *_) -> None:
        pass

    def answer(self, status: int, body: bytes, length: int | None = -1, **headers: str) -> None:
        """Sends `body`, announced as `length` bytes (-1: as many as it has; None: not at all)."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        defaults = {"ETag": self.server.etag, "Content-Type": "application/octet-stream"}
        for name, value in (
            defaults | {k.replace("_", "-"): v for k, v in headers.items()}
        ).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def serve(handler: Handler, cut: int | None = None, **headers: str) -> None:
    """Answers as a good server does, or only the first `cut` bytes of that."""
    data = handler.server.data
    wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if wanted and handler.headers.get("If-Range") in (None, handler.server.etag):
        start = int(wanted[1])
        where = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:][:cut]
        handler.answer(206, body, len(data) - start, Content_Range=where, **headers)
    else:
        handler.answer(200, data[:cut], len(data), **headers)


def cut_after(count: int, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: serve(handler, count, **headers)


def status(code: int, body: bytes = b"no", **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(code, body, **headers)


def no_range(handler: Handler) -> None:
    handler.answer(200, handler.server.data)


def slowly(handler: Handler) -> None:
    """Sends the first half at once and the rest in pieces, over some two seconds."""
    data, half = handler.server.data, len(handler.server.data) // 2
    handler.answer(200, data[:half], len(data))
    for start in range(half, len(data), 15_000):
        handler.wfile.write(data[start : start + 15_000])
        time.sleep(0.1)


def silent(handler: Handler) -> None:
    handler.answer(200, handler.server.data[:1000], len(handler.server.data))
    time.sleep(0.6)


def chunked(handler: Handler, whole: bool = True) -> None:
    handler.answer(200, b"", None, Transfer_Encoding="chunked")
    for start in range(0, len(DATA), 100_000):
        handler.wfile.write(b"186A0\r\n" + DATA[start : start + 100_000] + b"\r\n")
        if not whole:
            return
    handler.wfile.write(b"0\r\n\r\n")


@contextlib.contextmanager
def running() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.data, server.etag = DATA, '"one"'
    server.orders, server.seen = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/folder/base.pt"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def raw(data: bytes, times: int = 1, pause: float = 0.0) -> Callable[[Handler], None]:
    """Sends bytes as they are, again and again."""

    def order(handler: Handler) -> None:
        for _ in range(times):
            handler.wfile.write(data)
            handler.wfile.flush()
            time.sleep(pause)

    return order


def redirect(where: str, body: bytes = b"", times: int = 1) -> Callable[[Handler], None]:
    """Leads on to another address, with a page of some length."""
    head = f"HTTP/1.1 302 Found\r\nLocation: {where}\r\n\r\n".encode("latin-1")
    return lambda handler: (raw(head)(handler), raw(body, times)(handler))
