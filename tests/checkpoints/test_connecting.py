"""Servers that mean harm or are broken: one sentence, soon, and what has arrived is kept."""

import os
import time
import urllib.request

import pytest

from glide_jax.checkpoints import connecting, download
from glide_jax.errors import InputError
from tests import fuzz
from tests.checkpoints import http_server
from tests.checkpoints.http_server import DATA, cut_after, raw, redirect, status
from tests.checkpoints.test_download import fetch, names, refused, whole

OK = b'HTTP/1.1 200 OK\r\nETag: "one"\r\n'
ENDLESS = 1 << 30


@pytest.mark.parametrize(
    "where",
    ["http://[::1", "http://127.0.0.1:port/x", "http://127.0.0.1:99999/x", "http://\xff\xfe/",
     "http://a" + "b" * 70 + ".example/", "//[", "http://127.0.0.1:-1/", "http://user:pw@127.0.0.1:x/"],
)  # fmt: skip
def test_a_redirect_to_no_address_is_one_sentence(where, server, path):
    server.orders = [redirect(where)] * 3
    message = refused(server, path, retries=1)
    assert "127.0.0.1" in message
    assert "leads on to" in message or "could not be fetched" in message


@pytest.mark.parametrize(
    ("start", "where", "says"),
    [
        ("https://a/x", "http://a/x", "unencrypted"),
        ("https://a/x", "ftp://a/x", "unencrypted"),
        ("http://a/x", "ftp://a/x", "unencrypted"),
    ],
)
def test_a_redirect_never_leaves_encryption(start, where, says):
    with pytest.raises(InputError, match=says):
        connecting._Redirects().redirect_request(
            urllib.request.Request(start), None, 302, "Found", {}, where
        )
    good = start.replace("https", "HTTPS"), where.replace(where.split(":")[0], "https")
    request = connecting._Redirects().redirect_request(
        urllib.request.Request(good[0]), None, 302, "Found", {}, good[1]
    )
    assert request.full_url == good[1]


def test_a_redirect_is_followed_without_its_page(server, path):
    server.orders = [redirect(server.url, b"x" * 65536, ENDLESS)]
    fetch(server, path)
    assert whole(path)


def test_redirects_in_a_circle_end(server, path):
    server.orders = [redirect(server.url)] * 50
    assert "answered 302" in refused(server, path)
    assert names(path) == []


@pytest.mark.parametrize(
    "endless",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"X-A: b\r\n", b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"],
)
def test_an_answer_that_never_begins_ends_at_once(endless, server, path):
    server.orders = [lambda h: (raw(b"HTTP/1.1 100 Continue\r\n")(h), raw(endless, ENDLESS)(h))] * 9
    started = time.monotonic()
    message = refused(server, path)
    assert "begins and never ends" in message or "headers" in message
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("head", [b"", OK, OK + b"Content-Length: 600000\r\n\r\n"])
def test_a_trickle_is_cut_and_what_came_is_kept(head, server, path):
    trickle = lambda h: (raw(head)(h), raw(b"x", 1000, 0.02)(h))
    server.orders = [trickle] * 2
    started = time.monotonic()
    message = refused(server, path, retries=1, timeout=0.2)
    assert time.monotonic() - started < 5
    assert "sent less than 1000 bytes a second" in message
    assert "run again to go on where it stopped" in message


def test_a_trickle_of_chunks_is_cut_too(server, path):
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    server.orders = [lambda h: (raw(head)(h), raw(b"1;" + b"y" * 60 + b"\r\nx\r\n", 500, 0.01)(h))]
    fetch(server, path, size=len(DATA), timeout=0.2)
    assert whole(path)


def test_trailers_without_end_are_cut(server, path):
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    server.orders = [lambda h: (raw(head)(h), raw(b"A: b\r\n", 500, 0.01)(h))]
    fetch(server, path, size=len(DATA), timeout=0.2)
    assert whole(path)


def test_a_slow_server_that_keeps_coming_is_waited_for(server, path, monkeypatch):
    monkeypatch.setattr(connecting, "LOWEST_RATE", 20_000)
    server.orders = [http_server.slowly]
    fetch(server, path, timeout=0.5)
    assert len(server.seen) == 1
    assert whole(path)


def test_an_empty_file_is_not_taken(server, path):
    server.orders = [status(200, b"")]
    assert "has an empty file for base.pt" in refused(server, path)
    assert names(path) == []
    server.orders = [status(200, b"")]
    assert fetch(server, path, size=0).read_bytes() == b""


@pytest.mark.parametrize("extra", [1, 1000])
def test_a_part_that_is_longer_than_the_whole_is_begun_anew(extra, server, path):
    server.orders = [cut_after(1000)]
    refused(server, path, retries=0)
    (path.parent / "base.pt.part").write_bytes(DATA + b"x" * extra)
    server.orders = [status(206, b"", Content_Range=f"bytes {len(DATA) + extra}-0/{len(DATA)}")]
    server.orders *= 0 if extra == 1 else 1
    fetch(server, path)
    assert "Range" not in server.seen[1]
    assert whole(path)


@pytest.mark.parametrize(
    "where", ["bytes 1000-" + "9" * 5000 + "/600000", "bytes 1000-5/" + "9" * 5000, "bytes -1-5/9"]
)
def test_an_absurd_range_starts_anew(where, server, path):
    server.orders = [cut_after(1000), status(206, DATA[:10], Content_Range=where)]
    fetch(server, path)
    assert whole(path)


@pytest.mark.parametrize(
    "answer",
    [b"\x1b[31mHTTP/1.1 200\r\n\r\n", b"HTTP/1.1 \x1b]0;a\x07 200\r\n\r\n", b"\x00" * 500,
     b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 999 \x1b[2J\r\n\r\n", b"", b"\r\n" * 9,
     b"HTTP/1.1 404 \x1b[31mred\r\n\r\n", b"HTTP/1.1 -1 x\r\n\r\n", b"HTTP/1.1 103 Early\r\n\r\n",
     OK + b"Content-Length: 5\r\nContent-Type: \x1b[31m\r\n\r\nab",
     OK + b"Transfer-Encoding: chunked\r\n\r\n\x1b[31m\r\n", OK + b"a" * 70_000],
)  # fmt: skip
def test_no_control_character_of_a_server_is_shown(answer, server, path):
    server.orders = [raw(answer)] * 2
    message = refused(server, path, retries=1, size=5)
    assert message.isprintable()
    assert len(message) < 500


def test_a_note_of_other_hands_is_printable_and_no_obstacle(server, path):
    path.parent.mkdir()
    path.write_bytes(DATA)
    for note in ('{"url": "\\u001b[31m", "sha256": "%s"}' % ("0" * 64), '{"url": 3}', "[" * 10**5):
        (path.parent / "base.pt.json").write_text(note)
        try:
            fetch(server, path)
        except InputError as error:
            assert str(error).isprintable()  # noqa: PT017
    (path.parent / "base.pt").unlink()
    for part in ('{"url": "%s", "validator": "a\\nb", "total": "9"}', '{"url": "%s", "total": []}'):
        (path.parent / "base.pt.part").write_bytes(b"x" * 10)
        (path.parent / "base.pt.part.json").write_text(part % server.url)
        fetch(server, path)
        assert path.read_bytes() == DATA
        path.unlink()


@pytest.mark.parametrize("name", ["base.pt", "base.pt.part", "base.pt.json", "base.pt.part.json"])
def test_a_pipe_in_the_way_stops_nothing_for_ever(name, server, path):
    path.parent.mkdir()
    os.mkfifo(path.parent / name)
    if name.endswith("json"):
        try:
            fetch(server, path)
        except InputError as error:
            assert "cannot be written" in str(error)  # noqa: PT017
    else:
        with pytest.raises(InputError, match="is no file"):
            fetch(server, path)


def test_an_md5_of_another_kind_is_no_reason_to_throw_a_file_away(server, path):
    server.orders = [lambda h: http_server.serve(h, Content_MD5="d41d8cd98f00b204e9800998ecf8427e")]
    fetch(server, path)
    assert whole(path)


GOOD = (
    b'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Type: application/octet-stream\r\n'
    b"Content-Length: 2000\r\nAccept-Ranges: bytes\r\nContent-Range: bytes 0-1999/2000\r\n\r\n"
) + DATA[:2000]
LEADING = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/a\r\nContent-Length: 0\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n3E8\r\n" + DATA[:1000] + b"\r\n0\r\nA: b\r\n\r\n"


def answers_to(server, path, count: int, seed: int) -> None:
    for good in (GOOD, LEADING % server.server_port, CHUNKED):
        for bad in fuzz.mutations(good, count=count, seed=seed):
            server.orders = [raw(bad)] * 3
            options = {"retries": 1, "timeout": 0.3, "pause": 0.0}
            fuzz.answers(
                lambda options=options: download.fetch_file(server.url, path, **options),
                allowed=(InputError,),
            )
            for left in path.parent.glob("*"):
                left.unlink()


def test_damaged_answers_are_refused_or_taken_but_never_worse(server, path):
    answers_to(server, path, 40, 1)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_many_damaged_answers(server, path):
    answers_to(server, path, 400, 2)
