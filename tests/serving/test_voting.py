"""The page that takes votes: whoever asks, whatever is sent, however slowly."""

import contextlib
import logging
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from glide_jax.errors import InputError
from glide_jax.evaluation import protocols, votes
from glide_jax.evaluation.evaluate import Evaluator
from glide_jax.serving import guard, site, voting
from tests.evaluation.oracle import Oracle
from tests.evaluation.test_votes import WHOLE, vote


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, protocol = tmp_path_factory.mktemp("runs"), protocols.shapes_protocol(1)
    for name, seed in (("one", 0), ("two", 1)):
        Evaluator(protocol).run(Oracle(), folder / name, {"seed": seed}, batch_size=4)
    return [folder / "one", folder / "two"]


@contextlib.contextmanager
def served(runs, file):
    """The address of a site that runs while the block does."""
    place = site.Site(voting.voting_app(runs, file), "127.0.0.1", 0)
    ready = threading.Event()
    thread = threading.Thread(target=place.run, args=(ready.set,))
    thread.start()
    assert ready.wait(60)
    yield place.url
    place.stop()
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def page(runs, tmp_path):
    with served(runs, tmp_path / "votes.jsonl") as url:
        yield url


def test_the_page_shows_two_pictures_and_takes_votes_of_many(page, tmp_path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    get = lambda path, data=None: opener.open(page + path, data, timeout=20)
    text = get("/").read().decode()
    assert "two" not in text.replace("two ", "")  # runs' names would tell
    assert text.count("<img") == 2
    assert get("/image?run=1&i=3").read()[:4] == b"\x89PNG"
    form = {"a": 0, "b": 1, "i": 3, "question": "caption", "answer": "right"}
    data = urllib.parse.urlencode(form).encode()
    with ThreadPoolExecutor(8) as pool:
        assert {r.status for r in pool.map(lambda _: get("/vote", data), range(24))} == {200}
    given = votes.read_votes(tmp_path / "votes.jsonl")
    assert len(given) == 24
    assert given[0][:5] == ("caption", "one", "two", 3, "right")
    for path, body in (
        ("/image?run=2&i=0", None), ("/image?run=0&i=../../x", None), ("/etc/passwd", None),
        ("/vote", b"a=0&b=0&i=1&question=caption&answer=left"), ("/vote", b"a=0"),
        ("/vote", b"x" * 5000),
    ):  # fmt: skip
        with pytest.raises(urllib.error.URLError):
            get(path, body)
    assert len(votes.read_votes(tmp_path / "votes.jsonl")) == 24


FORM = b"a=0&b=1&i=3&question=caption&answer=right"


def request(page, lines, body=b"", seconds=20.0):
    """The answer to a request that is written by hand: its status, and all of it."""
    host, port = page.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        head = lines.format(host=f"{host}:{port}").replace("\n", "\r\n")
        connection.sendall(head.encode("latin-1") + b"\r\nConnection: close\r\n\r\n" + body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    text = answer.decode()
    return int(re.match(r"HTTP/1.1 (\d+)", text)[1]), text


LENGTH = f"Content-Length: {len(FORM)}"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH, 303),
        ("POST /vote HTTP/1.1\nHost: {host}\nOrigin: http://{host}\n" + LENGTH, 303),
        ("POST /vote HTTP/1.1\nHost: localhost:9000\ncontent-length:41", 303),
        ("POST /vote HTTP/1.1\nHost: {host}", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nTransfer-Encoding: chunked", 408),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: x", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: -1", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: +41", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length:", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: \xb2", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH + "\n" + LENGTH, 303),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: 9999", 413),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: " + "9" * 5000, 400),
        ("POST /other HTTP/1.1\nHost: {host}\n" + LENGTH, 404),
        ("POST /vote HTTP/1.1\n" + LENGTH, 400),
        ("POST /vote HTTP/1.0\n" + LENGTH, 421),
        ("POST /vote HTTP/1.1\nHost: evil.example\n" + LENGTH, 421),
        ("POST /vote HTTP/1.1\nHost: 127.0.0.1.evil.example\n" + LENGTH, 421),
        ("POST /vote HTTP/1.1\nHost: {host}\nHost: evil.example\n" + LENGTH, 400),
        ("POST /vote HTTP/1.1\nHost: 10.0.0.1\n" + LENGTH, 421),
        ("GET / HTTP/1.1\nHost: evil.example:8000", 421),
        ("POST /vote HTTP/1.1\nHost: {host}\nOrigin: https://evil.example\n" + LENGTH, 403),
        ("POST /vote HTTP/1.1\nHost: {host}\nOrigin: null\n" + LENGTH, 403),
        ("POST /vote HTTP/1.1\nHost: {host}\nOrigin: http://{host}.evil.example\n" + LENGTH, 403),
        ("BREW / HTTP/1.1\nHost: {host}", 405),
        ("GET / HTTP/9.9\nHost: {host}", 200),
        ("\x1b[31m", 400),
        ("GET / HTTP/1.1\nHost: {host}\n" + "\n".join(f"X-{k}: y" for k in range(300)), 200),
        ("GET / HTTP/1.1\nHost: {host}\nX: " + "y" * 100_000, 200),
    ],
)
def test_every_request_is_answered(page, tmp_path, monkeypatch, lines, status):
    monkeypatch.setattr(guard, "_READ_SECONDS", 1.0 if status == 408 else 60.0)
    found, text = request(page, lines, FORM if lines.startswith("POST") else b"")
    assert found == status, text
    path = tmp_path / "votes.jsonl"
    assert (len(votes.read_votes(path)) if path.exists() else 0) == (status == 303)


def test_a_vote_on_a_full_disk_is_answered_so(page, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        status, text = request(page, "POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH, FORM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 507
    assert "could not be kept: No space left on device." in text
    assert request(page, "POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH, FORM)[0] == 303
    assert len(votes.read_votes(tmp_path / "votes.jsonl")) == 1


def test_connections_that_send_nothing_hold_no_thread_and_end(page, monkeypatch, tmp_path):
    monkeypatch.setattr(site, "_HEAD_SECONDS", 1.0)
    monkeypatch.setattr(guard, "_READ_SECONDS", 1.0)
    host, port = page.removeprefix("http://").split(":")
    before, idle = threading.active_count(), []
    half = f"POST /vote HTTP/1.1\r\nHost: {host}\r\nContent-Length: 41\r\n\r\na".encode()
    for k in range(300):
        idle.append(socket.create_connection((host, int(port)), timeout=20))
        idle[-1].sendall([b"", b"POST /vo", half][k % 3])
    assert request(page, "POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH, FORM)[0] == 303
    assert threading.active_count() - before < 60
    for k, each in enumerate(idle):
        with contextlib.suppress(ConnectionResetError):
            answer = each.recv(99)
            assert answer.startswith(b"HTTP/1.1 408") == (k % 3 == 2)
        each.close()
    assert len(votes.read_votes(tmp_path / "votes.jsonl")) == 1


def drip(connection, seconds):
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        connection.sendall(b"G")
        time.sleep(0.1)


def test_a_head_that_drips_and_a_second_one_on_a_connection_are_ended(page, monkeypatch):
    monkeypatch.setattr(site, "_HEAD_SECONDS", 0.5)
    host, port = page.removeprefix("http://").split(":")
    whole = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    for first in (b"", whole):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(first)
            with pytest.raises(OSError, match=r"reset|pipe"):
                drip(connection, 20.0)


def test_a_site_that_ends_leaves_open_connections_without_noise(runs, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    with served(runs, tmp_path / "votes.jsonl") as page:
        host, port = page.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(3)]
        idle[0].sendall(b"POST /vo")
        assert request(page, "GET / HTTP/1.1\nHost: {host}")[0] == 200  # all are accepted by now
    for each in idle:
        each.close()
    noise = [r for r in caplog.records if r.levelno >= logging.INFO and r.name != "httpx"]
    assert not noise


@pytest.mark.parametrize("host", ["a..b", "\x1b[2J", "x" * 300, "192.0.2.1"])
def test_an_address_that_is_not_here_is_one_sentence(host):
    with pytest.raises(InputError, match=r"port 0 of '.*cannot be used: [\w ]+\.$") as caught:
        site.Site(None, host, 0)
    assert len(str(caught.value)) < 200


@pytest.mark.slow
def test_votes_of_two_hundred_at_once_through_two_servers_are_all_answered(page, runs, tmp_path):
    file = tmp_path / "votes.jsonl"
    with served(runs, file) as other:
        pages = [page, other]
        ready = threading.Barrier(200)

        def client(k):
            ready.wait()
            lines = "POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH
            return [request(pages[k % 2], lines, FORM, 120.0)[0] for _ in range(10)]

        with ThreadPoolExecutor(200) as pool:
            answers = [status for each in pool.map(client, range(200)) for status in each]
    assert answers == [303] * 2000
    assert len(votes.read_votes(file)) == 2000


@pytest.mark.slow
def test_no_answered_vote_is_lost_by_kills_of_the_server(runs, tmp_path):
    file, answered, rng = tmp_path / "votes.jsonl", [], random.Random(0)
    command = [sys.executable, "-m", "glide_jax", "compare", "serve", *map(str, runs)]
    command += ["--port", "0", "--votes", str(file)]
    for _ in range(5):
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        line = server.stderr.readline()
        page = re.search(r"http://[0-9.:]+", line)[0]

        def client(page=page):
            with contextlib.suppress(OSError, IndexError, AttributeError):  # until it is killed
                while True:
                    lines = "POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH
                    answered.append(request(page, lines, FORM)[0])

        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(client)
            time.sleep(rng.uniform(0.5, 1.5))
            server.kill()
        server.wait()
        server.stderr.close()
        with open(file, "ab") as torn:  # at a moment that chance seldom gives
            torn.write(WHOLE[: rng.randrange(len(WHOLE))])
    votes.append_vote(file, vote("one", "two", "tie"))
    assert set(answered) == {303}
    assert len(votes.read_votes(file)) > len(answered) > 50


def test_runs_of_other_prompts_are_not_compared(runs, tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        voting.voting_app([runs[0], tmp_path], tmp_path / "votes.jsonl")
    with pytest.raises(InputError, match="two or more"):
        voting.voting_app([runs[0], runs[0]], tmp_path / "votes.jsonl")
