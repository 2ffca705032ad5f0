"""Bytes to a server and its answers back over bare sockets, with what answers must keep to."""

import asyncio
import json
import re
import time
import unicodedata
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

SECONDS = 10.0  # the longest that any answer may take
_SILENCE = 0.1  # after which a request that may be incomplete is given up
_AT_ONCE = 8  # fewer than the pictures that may wait
# What docs/serving.md and openapi.json name; 307 drops a slash at the end.
STATUSES = {200, 307, 400, 401, 403, 404, 405, 408, 413, 421, 429, 503, 504}
# A web framework's own words are for what is no HTTP, and for the page's routes.
_NO_HTTP = b"Invalid HTTP request received."
_LEAKS = re.compile(rb'Traceback|File "|site-packages|\.py\b|0x[0-9a-f]{8}|Error\(')
_MOST_LETTERS = 700


class Shot(NamedTuple):
    """What a client sends over one connection.

    Attributes:
        data: the bytes.
        answers: how many must come; 0 is any number, where the bytes may be no whole request.
        page: whether it goes to the page, whose answers are Gradio's.
    """

    data: bytes
    answers: int = 1
    page: bool = False


class Reply(NamedTuple):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict:
        """What OpenAI's form of an error holds."""
        return json.loads(self.body)["error"]


def request(
    method: str, target: str | bytes, body: bytes = b"", headers: Iterable[bytes] = (), **more
) -> bytes:
    """The bytes of a request that is framed as it should be.

    Args:
        method: the method.
        target: the path.
        body: the body, whose length is in the headers.
        headers: lines beside Host and Content-Length.
        more: `host`, another Host.
    """
    target = target.encode() if isinstance(target, str) else target
    lines = [
        b"%s %s HTTP/1.1" % (method.encode(), target),
        b"Host: " + more.get("host", b"localhost"),
    ]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, *headers, b"", body])


async def _read_reply(reader: asyncio.StreamReader, head: bool) -> Reply | None:
    """The next answer; None at the end of the connection."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as ended:
        raw = ended.partial
    if not raw:
        return None
    assert raw.endswith(b"\r\n\r\n"), f"half an answer: {raw[:200]!r}"
    first, *lines = raw[:-4].split(b"\r\n")
    found = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]*", first)
    assert found, f"no status line: {first[:200]!r}"
    pairs = [line.decode("latin-1").partition(": ") for line in lines]
    headers, status = {name.lower(): value for name, _, value in pairs}, int(found[1])
    if status == 100:
        return await _read_reply(reader, head)
    framed = {"transfer-encoding", "content-length"} & {*headers}
    if status in (204, 304) or (head and framed):
        body = b""
    elif headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        body = b"".join(parts)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    return Reply(status, headers, body)


async def _fire(place: tuple[str, int], shot: Shot) -> list[Reply]:
    """Sends and reads until the answers are there, or the server has nothing more to give."""
    reader, writer = await asyncio.open_connection(*place, limit=1 << 26)
    replies: list[Reply] = []
    writer.write(shot.data)
    head = shot.data.startswith(b"HEAD ")

    async def read() -> None:
        while not shot.answers or len(replies) < shot.answers:
            reply = await _read_reply(reader, head)
            if reply is None:
                return
            replies.append(reply)

    try:
        if shot.answers:
            await read()
        else:
            reading = asyncio.ensure_future(read())
            done, _ = await asyncio.wait([reading], timeout=_SILENCE)
            if not done:
                writer.write_eof()  # the server has to end the connection now
            await reading
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # it was ended while we were sending, or were slow to read
    finally:
        writer.transport.abort()
    return replies


def check(shot: Shot, replies: list[Reply]) -> None:
    """Holds answers to what docs/serving.md has of them."""
    assert len(replies) >= shot.answers, "the connection was ended without an answer"
    for reply in replies:
        assert not _LEAKS.search(reply.body) or reply.status == 200, f"a leak: {reply.body[:500]!r}"
        kind = reply.headers.get("content-type", "")
        if shot.page:
            assert reply.status < 500 or reply.status == 503, reply
            continue
        assert reply.status in STATUSES, reply
        if reply.status >= 400 and reply.body and reply.body != _NO_HTTP:
            check_error(reply)
        elif kind == "application/json" and reply.body:
            json.loads(reply.body)


def check_error(reply: Reply) -> None:
    """Holds an error to OpenAI's form and to one sentence."""
    assert reply.headers["content-type"] == "application/json", reply
    error = reply.error
    assert set(error) == {"message", "type", "param", "code"}, reply
    sentence = error["message"]
    assert sentence.endswith("."), sentence
    assert len(sentence) <= _MOST_LETTERS, sentence
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in sentence), sentence
    assert error["param"] is None or len(error["param"]) <= 200, error["param"]


def fire(
    url: str,
    shots: Iterable[tuple[str, Shot]],
    keep: Callable[[Shot, list[Reply]], None] = check,
    seconds: float = SECONDS,
) -> Counter[str]:
    """Sends requests, some at once, and checks each answer.

    Args:
        url: the server's.
        shots: each with the words by which it is made again.
        keep: takes each with its answers.
        seconds: the longest time for each.

    Returns:
        How often each status came; "ended" is a connection without one.

    Raises:
        AssertionError: An answer came late, not at all, or was of another form.
    """
    place, waiting = urllib.parse.urlsplit(url), iter(shots)
    counts: Counter[str] = Counter()

    async def work() -> None:
        for name, shot in waiting:
            start = time.monotonic()
            try:
                async with asyncio.timeout(seconds):
                    replies = await _fire((place.hostname or "", place.port or 0), shot)
                keep(shot, replies)
            except (AssertionError, TimeoutError, ValueError) as error:
                took = time.monotonic() - start
                raise AssertionError(
                    f"{name}: {error!r} after {took:.1f} s; sent {shot.data[:2000]!r}"
                ) from None
            counts.update([str(reply.status) for reply in replies] or ["ended"])

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())

    try:
        asyncio.run(all_of_them())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return counts
