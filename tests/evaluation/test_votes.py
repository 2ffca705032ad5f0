"""Votes of many people, scores from them, and copies of training pictures."""

import json
import threading
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
