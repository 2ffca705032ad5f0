"""A page that shows two pictures and takes a vote: Python's own HTTP handler behind asyncio.

A connection is a small coroutine until its request is whole, so that a thousand idle ones hold no
thread; whole requests are answered by a few threads.
"""

import asyncio
import contextlib
import html
import io
import ipaddress
import pathlib
import re
import socket
import string
import urllib.parse
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from importlib import resources
from typing import Any

import numpy as np

from glide_jax import checks, images
from glide_jax.errors import InputError
from glide_jax.evaluation import draws, votes

_MOST_BYTES = 4096  # the largest vote that is read
_MOST_HEADERS = 16384  # bytes
_SECONDS = 10.0  # in which a request must be there, and an answer taken
_MOST_CONNECTIONS = 800  # at once; a process may usually have 1024 files
_BACKLOG = 1024  # connections that wait to be accepted
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*([0-9]{1,4})[ \t]*\r?$", re.I | re.M)
_NO_VOTE = "This is no vote."


def _prompts_in_common(runs: Sequence[pathlib.Path]) -> list[str]:
    """The prompts of runs of one protocol, read from their pictures."""
    results = [draws.finished_result(run) for run in runs]
    same = len({(result["prompts_sha256"], result["n"]) for result in results}) == 1
    if len(runs) < 2 or not same or len({run.name for run in runs}) != len(runs):
        raise InputError("give two or more runs of the same prompts, in folders of other names.")
    paths = [draws.path_of(runs[0], i) for i in range(results[0]["n"])]
    return [str((images.read_parameters(path) or {}).get("prompt", "")) for path in paths]


class VotingServer:
    """A server of the page; `serve_forever` runs it, and `shutdown` ends that from a thread.

    Args:
        listener: a socket that listens.
        handler: answers a request that it reads from what stands for a socket.
    """

    def __init__(self, listener: socket.socket, handler: Callable[..., Any]):
        self.server_address = listener.getsockname()
        self._listener, self._handler = listener, handler
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._open = 0

    def serve_forever(self) -> None:
        """Answers until `shutdown`."""
        asyncio.run(self._serve())

    def shutdown(self) -> None:
        """Ends `serve_forever` in another thread."""
        if self._loop is None:  # it has not begun, and will end at once
            self._stop.set()
        else:
            self._loop.call_soon_threadsafe(self._stop.set)

    def server_close(self) -> None:
        """Closes the socket."""
        self._listener.close()

    def __enter__(self) -> "VotingServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.server_close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with await asyncio.start_server(
            self._connection, sock=self._listener, limit=_MOST_HEADERS, backlog=_BACKLOG
        ):
            await self._stop.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        self._open += 1
        # Whoever asks may go at any moment, and so may the server.
        with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(self._close, writer)
                if self._open > _MOST_CONNECTIONS:
                    return
                request = await _request(reader)
                exchange = _Exchange(request)
                await asyncio.to_thread(self._handler, exchange, peer, self)
                async with asyncio.timeout(_SECONDS):
                    writer.write(exchange.response)
                    await writer.drain()
                    writer.write_eof()
                    while await reader.read(_MOST_HEADERS):  # unread bytes would reset the answer
                        pass

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open -= 1
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _request(reader: asyncio.StreamReader) -> bytes:
    """A request with its body, if that has a length that a vote may have; else without.

    One that does not come in time or is too long is cut, which its answer tells.
    """
    head = b""
    try:
        async with asyncio.timeout(_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            if len(lengths := _LENGTH.findall(head)) == 1 and int(lengths[0]) <= _MOST_BYTES:
                return head + await reader.readexactly(int(lengths[0]))
    except asyncio.IncompleteReadError as error:
        return head or error.partial
    except asyncio.LimitOverrunError:
        return await reader.read(_MOST_HEADERS)
    except TimeoutError:
        pass
    return head


class _Exchange:
    """Stands for a socket of which all is read."""

    def __init__(self, request: bytes):
        self._request, self.response = request, b""

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._request)

    def sendall(self, data: Any) -> None:
        self.response += bytes(data)


def voting_server(
    runs: Sequence[pathlib.Path],
    file: pathlib.Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    note: Callable[[str], None] = lambda text: None,
) -> VotingServer:
    """A server of the page; many may vote at once, also through several servers of one file.

    Pictures are named on the page only by their run's number in the order of `runs`. Pages of
    other sites can neither vote nor read: the name that a browser asks for must be this machine's.

    Args:
        runs: folders of finished runs.
        file: where votes are appended.
        host: the address to listen at; only this machine by default.
        port: 0 is any that is free.
        note: receives a sentence if the file had to be mended.

    Raises:
        InputError: a folder is no finished run, the runs are of different prompts, or the port is
            taken.
    """
    page = (resources.files("glide_jax.evaluation") / "voting_page.html").read_text("utf-8")
    fields = {
        "runs": runs,
        "prompts": _prompts_in_common(runs),
        "file": file,
        "rng": np.random.default_rng(),
        "page": string.Template(page),
        "host": host,
        "note": staticmethod(note),
    }
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, ValueError) as error:  # the latter for what can be no name
        why = getattr(error, "strerror", None) or "it is no name of a machine"
        why = why.split(" (while")[0]  # where Python repeats the address
        raise InputError(f"port {port} of {checks.shown(host)} cannot be used: {why}.") from None
    return VotingServer(listener, type("Handler", (_Handler,), fields))


class _Handler(BaseHTTPRequestHandler):
    runs: Sequence[pathlib.Path]
    prompts: Sequence[str]
    file: pathlib.Path
    rng: np.random.Generator
    page: string.Template
    host: str
    note: Callable[[str], None]

    def parse_request(self) -> bool:
        """Reads a request's head, and refuses what a page of another site asks for."""
        if not super().parse_request():
            return False
        asked = self.headers.get_all("Host") or [""]
        origins = self.headers.get_all("Origin") or []
        if len(asked) > 1 or not _is_ours(asked[0], self.host):
            self.answer(
                421, "This server answers to its address and to the name that --host gave it."
            )
        elif any(
            re.fullmatch(rf"https?://{re.escape(asked[0])}", each) is None for each in origins
        ):
            self.answer(403, "Pages of other sites cannot vote here.")
        else:
            return True
        return False

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/":
            a, b = self.rng.choice(len(self.runs), 2, replace=False).tolist()
            i, key = int(self.rng.integers(len(self.prompts))), self.rng.choice([*votes.QUESTIONS])
            page = self.page.substitute(
                question=votes.QUESTIONS[key], key=key, a=a, b=b, i=i,
                caption=html.escape(checks.printable(self.prompts[i])),
            )  # fmt: skip
            return self.answer(200, page, "text/html; charset=utf-8")
        if url.path == "/image":
            fields = dict(urllib.parse.parse_qsl(url.query))
            run, i = _number(fields, "run", len(self.runs)), _number(fields, "i", len(self.prompts))
            if run is not None and i is not None:
                with contextlib.suppress(OSError):
                    picture = draws.path_of(self.runs[run], i).read_bytes()
                    return self.answer(200, picture, "image/png")
        return self.answer(404, "There is no such page.")

    def do_POST(self) -> None:
        if self.path != "/vote":
            return self.answer(404, "There is no such page.")
        lengths = self.headers.get_all("Content-Length") or []
        if not lengths:
            return self.answer(411, "A vote must have a Content-Length.")
        if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
            return self.answer(400, "The Content-Length must be one whole number.")
        if len(lengths[0]) > 4 or int(lengths[0]) > _MOST_BYTES:
            return self.answer(413, f"A vote has at most {_MOST_BYTES} bytes.")
        body = self.rfile.read(int(lengths[0]))
        if len(body) < int(lengths[0]):
            return self.answer(408, "The vote did not come whole.")
        fields = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
        a, b = (_number(fields, key, len(self.runs)) for key in "ab")
        i = _number(fields, "i", len(self.prompts))
        if a is None or b is None or i is None:
            return self.answer(400, _NO_VOTE)
        question, answer = fields.get("question", ""), fields.get("answer", "")
        left, right, voter = self.runs[a].name, self.runs[b].name, self.client_address[0]
        vote = votes.Vote(question, left, right, i, answer, voter)
        try:
            votes.append_vote(self.file, vote, self.note)
        except InputError as error:
            return self.answer(400, str(error))
        except OSError as error:
            return self.answer(507, f"This vote could not be kept: {error.strerror}.")
        self.send_response(303)  # so that reloading does not vote again
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(
        self, status: int, body: bytes | str, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        if isinstance(body, str):
            body = body.encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing: only the command line prints."""


def _number(fields: dict[str, str], name: str, below: int) -> int | None:
    text = fields.get(name, "")
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else below
    return value if value < below else None


def _is_ours(asked: str, host: str) -> bool:
    """Whether a browser's Host is this machine's, and no name that was pointed at it.

    A page of another site reaches a server of this machine only by a name (DNS rebinding). The
    port is not compared: it may be forwarded from another.
    """
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:[0-9]{1,5})?", asked)
    name = found[1].strip("[]").lower().rstrip(".") if found else ""
    if name in ("localhost", host.lower()):
        return True
    try:
        address = ipaddress.ip_address(name)
        return address.is_loopback or not _is_loopback(host)
    except ValueError:
        return not _is_loopback(host) and name == socket.gethostname().lower()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
