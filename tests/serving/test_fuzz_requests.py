"""Hostile requests: an answer in one sentence, soon, and a server that lives on as it was."""

import base64
import contextlib
import http.client
import json
import logging
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

import pytest

from tests.serving import hostile, hostile_forms, hostile_pictures, wire
from tests.serving.hostile import EDITS, GENERATIONS, JSON, REPEAT
from tests.serving.wire import Shot, request

KINDS = {**hostile.KINDS, **hostile_forms.KINDS}
# How many of each kind: in the ordinary run, and in the long one, which makes 20,000 and more.
COUNTS = {
    "json_values": (20, 3000), "json_damaged": (30, 3000), "json_deep": (40, 1500),
    "json_coded": (20, 1000), "json_long": (4, 300), "length": (40, 1000), "chunked": (40, 2000),
    "odd_paths": (40, 1500), "odd_heads": (30, 1500), "no_http": (20, 1000), "pipelined": (2, 400),
    "page": (0, 1500), "form_values": (15, 1000), "form_cut": (20, 1000),
    "form_damaged": (30, 1500), "form_types": (6, 600), "form_parts": (20, 600),
    "form_coded": (30, 800), "pictures_bombs": (5, 250), "pictures_strange": (8, 400),
    "pictures_damaged": (20, 1200), "pictures_cut": (20, 800),
}  # fmt: skip
SEED = 1
GIGABYTE = 1 << 30
GROWTH = 400 << 20  # bytes that a server may grow by: bodies of 64 MiB, and what decodes them


def shots(kind: str, count: int, seed: int):
    """Requests with the words by which each is made again."""
    for k in range(count):
        yield f"{kind} {k} of seed {seed}", KINDS[kind](random.Random(f"{seed} {kind} {k}"))


def ask(url: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """Status and body of an ordinary request."""
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def drawn(url: str) -> list[bytes]:
    """Pictures that depend on nothing but their requests: a prompt's, and a variation."""
    fields = {"prompt": "a red circle", "seed": 3, "num_inference_steps": 2}
    first = ask(url, "POST", GENERATIONS, json.dumps(fields).encode())
    form = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % part
        for part in (
            (b"image", b'; filename="a.png"', hostile_pictures.sound()["PNG"]),
            (b"seed", b"", b"3"), (b"num_inference_steps", b"", b"2"),
        )
    )  # fmt: skip
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    second = ask(url, "POST", hostile.VARIATIONS, form + b"--x--\r\n", **kind)
    assert (first[0], second[0]) == (200, 200)
    return [
        base64.b64decode(json.loads(body)["data"][0]["b64_json"]) for _, body in (first, second)
    ]


@contextlib.contextmanager
def unharmed(url: str):
    """Holds a server to the same pictures after as before."""
    before = drawn(url)
    yield
    assert drawn(url) == before
    assert ask(url, "GET", "/health")[0] == 200


class Faults(logging.Handler):
    """Collects what is logged with a traceback, or as an error."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            self.found.append(self.format(record))


@pytest.fixture
def faults():
    """The faults of a server in this process; there must be none at the end."""
    handler = Faults()
    loggers = [logging.getLogger(name) for name in (None, "uvicorn.error")]  # that has its own
    for logger in loggers:
        logger.addHandler(handler)
    yield handler.found
    for logger in loggers:
        logger.removeHandler(handler)
    assert not handler.found, handler.found[0]


@pytest.mark.slow
def test_hundreds_of_hostile_requests_harm_nothing(server, faults):
    with unharmed(server):
        for kind, (few, _) in COUNTS.items():
            # Programs are compiled on the way; the long run has them before.
            wire.fire(server, shots(kind, few, 0), seconds=120)


def _part(name: str, value: bytes) -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (
        name.encode(),
        value,
    )


def _picture(data: bytes) -> bytes:
    return _part('image"; filename="a.png', data)


def _json(**fields) -> Shot:
    body = json.dumps({"prompt": "x", "num_inference_steps": 1, **fields}).encode()
    return Shot(request("POST", GENERATIONS, body, [JSON]))


def _form(path: str, *parts: bytes, kind: bytes = b"boundary=x") -> Shot:
    headers = [b"Content-Type: multipart/form-data; " + kind]
    return Shot(request("POST", path, b"".join(parts) + b"--x--\r\n", headers))


FOUND = {  # faults that these tests found: a request, the status that is right, and words
    "an unknown field of lone surrogates": (
        _json(**{"\ud800" * 100: 1}), 400, r"\ud800\ud800",
    ),
    "a seed that is a list": (_json(seed=[1]), 400, "seed is [1]; it must be a whole number"),
    "a seed that is a word": (_json(seed="x"), 400, "seed is 'x'; it must be a whole number"),
    "a charset that decodes nothing": (
        _form(EDITS, _part("prompt", b"x"), kind=b"charset=undefined; boundary=x"), 400, "charset",
    ),
    "a palette that is missing": (
        _form(EDITS, _picture(hostile_pictures.strange()["no palette"]), _part("prompt", b"x")),
        400, "image is a damaged picture",
    ),
    **{f"parameters that no JSON holds: {value}": (
        _form(REPEAT, _picture(hostile_pictures.bombs()[f"parameters {value!r}"])),
        400, "no parameters of this program",
    ) for value in (b'{"a": 1e999}', b'{"a": "\\ud800"}')},
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_once_a_fault_is_a_sentence(server, faults, name):
    shot, status, words = FOUND[name]
    replies = []

    def keep(_, got):
        replies.extend(got)

    wire.fire(server, [(name, shot)], keep)
    [reply] = replies
    assert (reply.status, words in reply.error["message"]) == (status, True), reply


def test_a_client_that_leaves_before_its_body_is_no_fault(server, faults):
    place = urllib.parse.urlsplit(server)
    for path, kind in (
        (GENERATIONS, "application/json"),
        (EDITS, "multipart/form-data; boundary=x"),
    ):
        with socket.create_connection((place.hostname, place.port)) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n"
            connection.sendall(f"{head}Content-Type: {kind}\r\n\r\n--x\r\n".encode())
            time.sleep(0.05)
    with unharmed(server):
        pass


class Process:
    """`glide-jax serve` as a user starts it, with the page; what it prints is in a file."""

    def __init__(self, model: pathlib.Path, folder: pathlib.Path):
        self.log = folder / "log"
        command = [sys.executable, "-m", "glide_jax", "serve", "--model", str(model), "--port", "0"]
        options = ["--slots", "3", "--max-n", "4", "--max-steps", "50"]
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [*command, *options], stdout=file, stderr=file,
                env={**os.environ, "GLIDE_JAX_API_KEY": ""},
            )  # fmt: skip
        end = time.monotonic() + 240
        while not (found := re.search(r"serving (http://\S+)/; Ctrl-C ends", self.text)):
            assert self.process.poll() is None, self.text
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.2)
        self.url = found[1]

    @property
    def text(self) -> str:
        """What it printed."""
        return self.log.read_text(errors="replace")

    @property
    def bytes(self) -> int:
        """The memory that it holds."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def check(self) -> None:
        """Holds it to being alive, and its log to having no fault."""
        assert self.process.poll() is None, self.text[-3000:]
        assert "Traceback" not in self.text, self.text[self.text.index("Traceback") :][:3000]

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 128 + signal.SIGTERM
        assert "Traceback" not in self.text


@pytest.fixture(scope="module")
def process(tiny_full, tmp_path_factory):
    """A server in a process of its own."""
    process = Process(tiny_full, tmp_path_factory.mktemp("served"))
    drawn(process.url)
    wire.fire(process.url, shots("json_values", 200, SEED + 1), seconds=240)
    for name, picture in {**hostile_pictures.sound(), **hostile_pictures.strange()}.items():
        # Programs for each shape of a picture are compiled here, however long that takes.
        shot = _form(hostile.VARIATIONS, _picture(picture), _part("num_inference_steps", b"1"))
        wire.fire(process.url, [(name, shot)], seconds=120)
    yield process
    process.end()


@pytest.mark.slow
@pytest.mark.parametrize("kind", COUNTS)
def test_thousands_of_hostile_requests_harm_nothing(process, kind, capsys):
    start, before = time.monotonic(), process.bytes
    with unharmed(process.url):
        counts = wire.fire(process.url, shots(kind, COUNTS[kind][1], SEED))
    process.check()
    grown, took = process.bytes - before, time.monotonic() - start
    with capsys.disabled():
        answers = ", ".join(f"{status} {count}" for status, count in sorted(counts.items()))
        print(f"\n{kind}: {counts.total()} in {took:.0f} s: {answers}; {grown >> 20} MiB more")
    assert grown < GROWTH


def test_the_long_run_makes_20_000_requests():
    assert sum(many for _, many in COUNTS.values()) >= 20_000
    assert COUNTS.keys() == KINDS.keys()


def _stream(url: str, head: bytes, piece: bytes, count: int) -> tuple[bytes, int]:
    """What a server answers to a long body, and the bytes that it took before."""
    place, sent = urllib.parse.urlsplit(url), 0
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(head)
        with contextlib.suppress(ConnectionError):
            for _ in range(count):
                connection.sendall(piece)
                sent += len(piece)
        with contextlib.suppress(ConnectionError):
            return connection.recv(4096), sent
    return b"", sent


PIECE = b"x" * (1 << 16)
ENDLESS = {  # a body of a gigabyte by the way it comes: its head, a piece of it
    "declared": (f"Content-Length: {GIGABYTE}", PIECE),
    "in chunks": ("Transfer-Encoding: chunked", b"10000\r\n%s\r\n" % PIECE),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", ENDLESS)
@pytest.mark.parametrize(
    "path", [GENERATIONS, EDITS, "/gradio_api/upload", "/gradio_api/queue/join"]
)
def test_a_gigabyte_is_refused_before_it_is_there(process, path, way):
    more, piece = ENDLESS[way]
    kind = "application/json" if path in (GENERATIONS, "/gradio_api/queue/join") else (
        "multipart/form-data; boundary=x"
    )  # fmt: skip
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{more}\r\n\r\n"
    start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    if "form" in kind:  # so that what follows is a file's
        head += f"{len(start):x}\r\n{start.decode()}\r\n" if way == "in chunks" else start.decode()
    began, before = time.monotonic(), process.bytes
    answer, sent = _stream(process.url, head.encode(), piece, GIGABYTE // len(PIECE))
    assert time.monotonic() - began < wire.SECONDS
    assert b" 413 " in answer.split(b"\r\n")[0], answer[:500]
    assert sent < 100 << 20
    assert process.bytes - before < GROWTH
    process.check()
