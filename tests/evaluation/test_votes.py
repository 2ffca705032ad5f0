"""Votes of many people, scores from them, and copies of training pictures."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import optimize, stats

from glide_jax import images
from glide_jax.errors import InputError
from glide_jax.evaluation import memorisation, votes
from tests.data.readers.test_folder import put


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


@pytest.mark.parametrize(
    ("answers", "sure"),
    [
        (["left"], False), (["tie"], False), (["tie"] * 40, False), (["left"] * 2, False),
        (["left"] * 40, True), (["left", "right"] * 3, False),
    ],
)  # fmt: skip
def test_no_interval_is_without_width_and_a_single_vote_proves_nothing(answers, sure):
    scores = votes.elo_scores([vote("a", "b", answer) for answer in answers])
    for score in scores.values():
        assert score.low < score.elo < score.high
        assert score.high - score.low > 1
    assert (scores["a"].low > 0) == sure


def test_the_interval_of_two_runs_is_that_of_a_share():
    scores = votes.elo_scores([vote("a", "b", "left")] * 7 + [vote("a", "b", "right")] * 3)
    exact = stats.beta(7.5, 3.5).ppf((0.025, 0.975))  # the posterior of a share, Jeffreys' prior
    elo = 200 * np.log10(exact / (1 - exact))  # half of the difference is each run's
    np.testing.assert_allclose((scores["a"].low, scores["a"].high), elo, atol=12)


def test_runs_that_were_never_compared_have_no_common_scale():
    with pytest.raises(InputError, match="never compared"):
        votes.elo_scores([vote("a", "b", "left"), vote("c", "d", "left")])
    with pytest.raises(InputError, match="no votes"):
        votes.elo_scores([])


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
