"""Clients that are slow, silent or gone: they hinder nobody, and are ended in time."""

import contextlib
import json
import socket
import threading
import time
import urllib.parse

import pytest

from glide_jax.serving import guard, site
from tests.serving.conftest import running
from tests.serving.hostile import GENERATIONS
from tests.serving.test_fuzz_requests import ask, faults  # noqa: F401  a fixture
from tests.serving.wire import request

LIMIT = 0.5  # seconds that a slow client has in these tests
SOON = 10.0  # seconds: what is no hang, on a machine that does other work
MANY = 300
HEAD = b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\n"
FORM = b"POST /v1/images/edits HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; "
PICTURE = (
    b'boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
)
SLOW = {  # what a client sends at first, and then byte by byte
    "nothing": (b"", b""),
    "a head that drips": (HEAD, b"X" * 99),
    "a header that drips on": (HEAD + b"X: ", b"y" * 99),
    "a body that does not come": (HEAD + b"Content-Length: 99\r\n\r\n", b""),
    "a body that drips": (HEAD + b"Content-Length: 99\r\n\r\n{", b" " * 90),
    "chunks that drip": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 20),
    "a form that drips": (
        FORM.replace(b"Host", b"Content-Length: 999\r\nHost") + PICTURE,
        b"z" * 90,
    ),
    "a second head that drips": (request("GET", "/health") + HEAD, b"X" * 99),
}


@pytest.fixture
def impatient(glide, faults, monkeypatch):  # noqa: F811
    """A server whose patience is short."""
    for module, name in (
        (site, "_HEAD_SECONDS"),
        (site, "_TAKE_SECONDS"),
        (guard, "_READ_SECONDS"),
    ):
        monkeypatch.setattr(module, name, LIMIT)
    with running(glide, slots=3, room=16) as (url, engine):
        yield url, engine


@contextlib.contextmanager
def clients(url, count):
    """Open connections."""
    place = urllib.parse.urlsplit(url)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=20))
            for _ in range(count)
        ]


def soon(url):
    """The longest of a few answers to others."""
    longest = 0.0
    for _ in range(5):
        start = time.monotonic()
        assert ask(url, "GET", "/health")[0] == 200
        longest = max(longest, time.monotonic() - start)
    return longest


def drip(connections, pieces, stop):
    """Sends each of the connections that are left the next byte of its piece, again and again."""
    for k in range(max(map(len, pieces))):
        for connection, piece in zip(connections, pieces, strict=True):
            with contextlib.suppress(OSError):
                connection.send(piece[k : k + 1])
        if stop.wait(0.05):
            return


def try_all(server, kinds):
    """Holds a server to answering others at once, and to ending slow clients of some kinds."""
    url, engine = server
    pairs = [SLOW[kinds[k % len(kinds)]] for k in range(MANY)]
    with clients(url, MANY) as connections:
        start, stop = time.monotonic(), threading.Event()
        for connection, (first, _) in zip(connections, pairs, strict=True):
            connection.sendall(first)
        rest = [piece for _, piece in pairs]
        dripping = threading.Thread(target=drip, args=(connections, rest, stop))
        dripping.start()
        try:
            assert soon(url) < SOON
            for connection in connections:
                answers = b""
                with contextlib.suppress(ConnectionResetError):
                    while data := connection.recv(65536):
                        answers += data
                for answer in answers.split(b"HTTP/1.1 ")[1:]:
                    assert answer[:3] in (b"200", b"408"), answer
            assert time.monotonic() - start < LIMIT + 9.0
        finally:
            stop.set()
            dripping.join()
    assert ask(url, "GET", "/health")[0] == 200
    assert engine.load == (0, 0)


def test_hundreds_of_slow_clients_hinder_nobody_and_are_ended(impatient):
    try_all(impatient, [*SLOW])


@pytest.mark.slow
@pytest.mark.parametrize("kind", SLOW)
def test_hundreds_of_one_kind_do_not_either(impatient, kind):
    try_all(impatient, [kind])


def _stream(**fields):
    body = {"prompt": "x", "num_inference_steps": 50, "stream": True, "partial_images": 3, **fields}
    return request("POST", GENERATIONS, json.dumps(body).encode())


def _wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.02)


def test_a_client_that_leaves_within_a_stream_frees_its_slot(impatient):
    url, engine = impatient
    with clients(url, 6) as connections:
        for connection in connections:
            connection.sendall(_stream())
        _wait_for(lambda: engine.load[1] == 3)
        for connection in connections[:3]:
            connection.recv(10)
    _wait_for(lambda: engine.load == (0, 0))
    assert soon(url) < SOON


def pester(connection, ended):
    """Asks for more and more without reading any answer."""
    try:
        for _ in range(2000):
            connection.sendall(request("GET", "/openapi.json") * 5)
            time.sleep(0.01)
    except ConnectionError:
        ended.append("by the server")


def test_a_client_that_never_reads_is_ended(impatient):
    url, engine = impatient
    place = urllib.parse.urlsplit(url)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the least that there is
        deaf.settimeout(20)
        deaf.connect((place.hostname, place.port))
        sending = threading.Thread(target=pester, args=(deaf, ended := []))
        sending.start()
        assert soon(url) < SOON
        sending.join(30)
        assert ended == ["by the server"]
    assert engine.load == (0, 0)


def test_half_open_connections_are_ended(impatient):
    url, _ = impatient
    with clients(url, MANY) as connections:
        for k, connection in enumerate(connections):
            connection.sendall((b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n")[k % 3])
            connection.shutdown(socket.SHUT_WR)
        assert soon(url) < SOON
        for connection in connections:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(4096) == b""
