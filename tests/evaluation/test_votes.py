"""Votes of many people, scores from them, and copies of training pictures."""

import contextlib
import errno
import json
import logging
import os
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

import numpy as np
import pytest
from scipy import optimize

from glide_jax import images
from glide_jax.errors import InputError
from glide_jax.evaluation import memorisation, protocols, votes, voting_page
from glide_jax.evaluation.evaluate import Evaluator
from tests.data.readers.test_folder import put
from tests.evaluation.oracle import Oracle


def vote(left, right, answer, question="caption"):
    return votes.Vote(question, left, right, 0, answer, "me")


def test_votes_of_many_at_once_are_all_there_and_whole(tmp_path):
    path = tmp_path / "deep" / "votes.jsonl"
    given = [vote("a", f"run {k}", "left") for k in range(200)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda v: votes.append_vote(path, v), given))
    assert sorted(votes.read_votes(path)) == sorted(given)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"question": "caption"}', json.dumps(vote("a", "a", "left")._asdict()),
             json.dumps(vote("a", "b", "both")._asdict())]
)  # fmt: skip
def test_a_line_that_is_no_vote_is_named(tmp_path, line):
    (tmp_path / "votes.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(InputError, match="line 2"):
        votes.read_votes(tmp_path / "votes.jsonl")


WHOLE = json.dumps(vote("a", "b", "left")._asdict()).encode() + b"\n"


@pytest.mark.parametrize("torn", [WHOLE[:1], WHOLE[:40], WHOLE[:-2], b"\xff" * 9000, b"\0" * 5])
@pytest.mark.parametrize("before", [b"", WHOLE, WHOLE * 90])
def test_half_a_vote_at_the_end_is_set_aside_and_told(tmp_path, before, torn):
    path, notes = tmp_path / "votes.jsonl", []
    path.write_bytes(before + torn)
    for answer in ("right", "tie"):
        votes.append_vote(path, vote("a", "b", answer), notes.append)
    assert path.read_bytes().startswith(before)
    assert [v.answer for v in votes.read_votes(path)[-2:]] == ["right", "tie"]
    assert len(votes.read_votes(path)) == before.count(b"\n") + 2
    assert (tmp_path / "votes.jsonl.damaged").read_bytes() == torn + b"\n"
    assert notes == ["votes.jsonl ended in half a vote, which is now in votes.jsonl.damaged."]


def test_a_whole_vote_without_a_line_end_is_kept(tmp_path):
    path = tmp_path / "votes.jsonl"
    path.write_bytes(WHOLE + WHOLE.rstrip())
    votes.append_vote(path, vote("a", "b", "tie"))
    assert [v.answer for v in votes.read_votes(path)] == ["left", "left", "tie"]


@pytest.mark.parametrize("name", ["a\u2028b\x85c\x0bd", "half \udcff", "d\u202ee", "line\nend\r"])
def test_a_run_may_have_any_name(tmp_path, name):
    path, given = tmp_path / "votes.jsonl", [vote(name, "b", "left"), vote("b", name, "tie")]
    for each in given:
        votes.append_vote(path, each)
    assert votes.read_votes(path) == given
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    ("line", "more"),
    [
        (WHOLE[:30], 0), (WHOLE[:30] + WHOLE.rstrip(), 1), (b"[" * 100_000, 0), (b"\xff\xfe", 0),
        (b'{"prompt": 1e999}', 0), (b"\x1b[31m{", 0), (WHOLE[:-2] + b', "extra": 1}', 0),
    ],
)  # fmt: skip
def test_a_line_that_is_no_vote_is_passed_over_and_told(tmp_path, line, more):
    path, notes = tmp_path / "votes.jsonl", []
    path.write_bytes(b"\xef\xbb\xbf" + WHOLE.replace(b"\n", b"\r\n") + line + b"\n" + WHOLE)
    assert len(votes.read_votes(path, notes.append)) == 2 + more
    [note] = notes
    assert note.startswith("warning: line 2 of ")
    assert "votes.jsonl" in note
    assert "\x1b" not in note


def test_a_vote_that_finds_no_room_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    path, before = tmp_path / "votes.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_bytes(WHOLE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(WHOLE) + 20, before[1]))
    try:
        with pytest.raises(OSError, match=r"votes\.jsonl"):
            votes.append_vote(path, vote("a", "b", "tie"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == WHOLE

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        votes.append_vote(path, vote("a", "b", "tie"))
    assert path.read_bytes() == WHOLE


def test_scores_are_the_most_likely_ones():
    rng, strength = np.random.default_rng(0), np.array([0.0, 150.0, -100.0, 300.0])
    given = []
    for _ in range(400):
        a, b = rng.choice(4, 2, replace=False)
        p = 1 / (1 + 10 ** ((strength[b] - strength[a]) / 400))
        answer = "tie" if rng.random() < 0.2 else "left" if rng.random() < p else "right"
        given.append(vote("abcd"[a], "abcd"[b], answer))
    scores = votes.elo_scores(given, resamples=200)

    def loss(e):  # written out vote by vote, with the one tie of each pair
        all_ = [*given, *(vote(x, y, "tie") for x in "abcd" for y in "abcd" if x < y)]
        total = 0.0
        for v in all_:
            gap = (e["abcd".index(v.left)] - e["abcd".index(v.right)]) * np.log(10) / 400
            worth = {"left": 1, "right": 0, "tie": 0.5}[v.answer]
            total += worth * np.logaddexp(0, -gap) + (1 - worth) * np.logaddexp(0, gap)
        return total

    best = optimize.minimize(lambda e: loss([*e, -sum(e)]), np.zeros(3), tol=1e-9).x
    found = [scores[name].elo for name in "abcd"]
    np.testing.assert_allclose(found, [*best, -best.sum()], atol=0.1)
    assert sum(found) == pytest.approx(0, abs=1e-6)
    for score in scores.values():
        assert score.low < score.elo < score.high < score.low + 200
    assert sorted(scores, key=lambda name: scores[name].elo) == ["c", "a", "b", "d"]


def test_ties_are_equal_and_a_run_that_always_wins_is_finite():
    even = votes.elo_scores([vote("a", "b", "tie")] * 5, resamples=10)
    assert even["a"].elo == pytest.approx(0, abs=1e-9)
    won = votes.elo_scores([vote("a", "b", "left")] * 50, resamples=10)
    assert 0 < won["a"].elo < 1000


def test_runs_that_were_never_compared_have_no_common_scale():
    with pytest.raises(InputError, match="never compared"):
        votes.elo_scores([vote("a", "b", "left"), vote("c", "d", "left")])
    with pytest.raises(InputError, match="no votes"):
        votes.elo_scores([])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, protocol = tmp_path_factory.mktemp("runs"), protocols.shapes_protocol(1)
    for name, seed in (("one", 0), ("two", 1)):
        Evaluator(protocol).run(Oracle(), folder / name, {"seed": seed}, batch_size=4)
    return [folder / "one", folder / "two"]


@pytest.fixture
def page(runs, tmp_path):
    server = voting_page.voting_server(runs, tmp_path / "votes.jsonl")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


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
        connection.sendall(head.encode("latin-1") + b"\r\n\r\n" + body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    text = answer.decode()  # a request without a version has no line with a status
    return int(re.search(r"^HTTP/1.0 (\d+)|Error code: (\d+)", text).expand(r"\1\2")), text


LENGTH = f"Content-Length: {len(FORM)}"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH, 303),
        ("POST /vote HTTP/1.1\nHost: {host}\nOrigin: http://{host}\n" + LENGTH, 303),
        ("POST /vote HTTP/1.1\nHost: localhost:9000\ncontent-length:41", 303),
        ("POST /vote HTTP/1.1\nHost: {host}", 411),
        ("POST /vote HTTP/1.1\nHost: {host}\nTransfer-Encoding: chunked", 411),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: x", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: -1", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: +41", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length:", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: \xb2", 400),
        ("POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH + "\n" + LENGTH, 400),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: 9999", 413),
        ("POST /vote HTTP/1.1\nHost: {host}\nContent-Length: " + "9" * 5000, 413),
        ("POST /other HTTP/1.1\nHost: {host}\n" + LENGTH, 404),
        ("POST /vote HTTP/1.1\n" + LENGTH, 421),
        ("POST /vote HTTP/1.1\nHost: evil.example\n" + LENGTH, 421),
        ("POST /vote HTTP/1.1\nHost: 127.0.0.1.evil.example\n" + LENGTH, 421),
        ("POST /vote HTTP/1.1\nHost: {host}\nHost: evil.example\n" + LENGTH, 421),
        ("POST /vote HTTP/1.1\nHost: 10.0.0.1\n" + LENGTH, 421),
        ("GET / HTTP/1.1\nHost: evil.example:8000", 421),
        ("POST /vote HTTP/1.1\nHost: {host}\nOrigin: https://evil.example\n" + LENGTH, 403),
        ("POST /vote HTTP/1.1\nHost: {host}\nOrigin: null\n" + LENGTH, 403),
        ("POST /vote HTTP/1.1\nHost: {host}\nOrigin: http://{host}.evil.example\n" + LENGTH, 403),
        ("BREW / HTTP/1.1\nHost: {host}", 501),
        ("GET / HTTP/9.9\nHost: {host}", 505),
        ("\x1b[31m", 400),
        ("GET / HTTP/1.1\nHost: {host}\n" + "\n".join(f"X-{k}: y" for k in range(300)), 431),
        ("GET / HTTP/1.1\nHost: {host}\nX: " + "y" * 100_000, 200),  # cut, and answered
    ],
)
def test_every_request_is_answered(page, tmp_path, lines, status):
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
    monkeypatch.setattr(voting_page, "_SECONDS", 1.0)
    host, port = page.removeprefix("http://").split(":")
    before, idle = threading.active_count(), []
    for k in range(300):
        idle.append(socket.create_connection((host, int(port)), timeout=20))
        idle[-1].sendall(
            [b"", b"POST /vo", b"POST /vote HTTP/1.1\r\nContent-Length: 41\r\n\r\na"][k % 3]
        )
    assert request(page, "POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH, FORM)[0] == 303
    assert threading.active_count() - before < 40
    for k, each in enumerate(idle):
        assert bool(each.recv(9)) == (k % 3 == 2)  # a vote that stops half way has an answer
        each.close()
    assert len(votes.read_votes(tmp_path / "votes.jsonl")) == 1


def test_a_server_that_ends_leaves_open_connections_without_noise(runs, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    with voting_page.voting_server(runs, tmp_path / "votes.jsonl") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        page = f"http://127.0.0.1:{server.server_address[1]}"
        idle = [socket.create_connection(server.server_address) for _ in range(3)]
        idle[0].sendall(b"POST /vo")
        assert request(page, "GET / HTTP/1.1\nHost: {host}")[0] == 200  # all are accepted by now
        server.shutdown()
        thread.join()
    for each in idle:
        each.close()
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


@pytest.mark.parametrize("host", ["a..b", "\x1b[2J", "x" * 300, "192.0.2.1"])
def test_an_address_that_is_not_here_is_one_sentence(runs, tmp_path, host):
    with pytest.raises(InputError, match=r"port 0 of '.*cannot be used: [\w ]+\.$") as caught:
        voting_page.voting_server(runs, tmp_path / "votes.jsonl", host=host)
    assert len(str(caught.value)) < 200


@pytest.mark.slow
def test_votes_of_two_hundred_at_once_through_two_servers_are_all_answered(page, runs, tmp_path):
    file = tmp_path / "votes.jsonl"
    with voting_page.voting_server(runs, file) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        pages = [page, f"http://127.0.0.1:{other.server_address[1]}"]
        ready = threading.Barrier(200)

        def client(k):
            ready.wait()
            lines = "POST /vote HTTP/1.1\nHost: {host}\n" + LENGTH
            return [request(pages[k % 2], lines, FORM, 120.0)[0] for _ in range(10)]

        with ThreadPoolExecutor(200) as pool:
            answers = [status for each in pool.map(client, range(200)) for status in each]
        other.shutdown()
        thread.join()
    assert answers == [303] * 2000
    assert len(votes.read_votes(file)) == 2000


@pytest.mark.slow
def test_no_answered_vote_is_lost_by_kills_of_the_server(runs, tmp_path):
    file, answered, rng = tmp_path / "votes.jsonl", [], random.Random(0)
    command = [
        sys.executable,
        "-m",
        "glide_jax",
        "compare",
        "serve",
        *map(str, runs),
        "--port",
        "0",
    ]
    for _ in range(5):
        server = subprocess.Popen(
            [*command, "--votes", str(file)], stderr=subprocess.PIPE, text=True
        )
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
        voting_page.voting_server([runs[0], tmp_path], tmp_path / "votes.jsonl")
    with pytest.raises(InputError, match="two or more"):
        voting_page.voting_server([runs[0], runs[0]], tmp_path / "votes.jsonl")


def test_copies_of_training_pictures_come_first():
    rng = np.random.default_rng(0)
    training, fresh = rng.standard_normal((300, 6)), rng.standard_normal((50, 6))
    honest = memorisation.find_neighbours(fresh, training)
    copied = fresh.copy()
    copied[[4, 9]] = training[[7, 8]]
    found = memorisation.find_neighbours(copied, training)
    assert sorted(found.closest_first[:2]) == [4, 9]
    assert found.index[[4, 9]].tolist() == [7, 8]
    assert (honest.summary()["exact"], found.summary()["exact"]) == (0, 2)
    assert honest.summary()["below_training_first_percentile"] < 0.05
    assert 0.3 < honest.summary()["below_training_median"] < 0.7


def test_the_sheet_shows_pairs_side_by_side(tmp_path):
    from glide_jax.data.readers.folder import Folder

    for k in range(5):
        put(tmp_path, f"{k}.png", "x", grey=50 * k)
    (tmp_path / "3.png").write_bytes(b"broken")
    found = list(memorisation.usable_pictures(Folder(tmp_path), 16, 10))
    assert [i for i, _ in found] == [0, 1, 2, 4]
    sheet = memorisation.pairs_sheet([(found[0][1], found[2][1])], [0.5])
    images.write_png(tmp_path / "sheet.png", sheet, {})
    row = np.asarray(sheet)[104]
    assert {0, 100, 255} <= set(row[:, 0].tolist())
