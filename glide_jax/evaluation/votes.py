"""People's pairwise choices: kept as lines of a file, and made into Elo scores."""

import codecs
import errno
import fcntl
import io
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glide_jax import checks, files
from glide_jax.errors import InputError

QUESTIONS = {
    "photorealism": "Which picture looks more like a photograph?",
    "caption": "Which picture fits the caption better?",
}
ANSWERS = ("left", "right", "tie")
_BLOCK = 4096  # bytes
_PER_POINT = math.log(10) / 400  # 400 points are odds of ten to one


class Vote(NamedTuple):
    """One answer; runs are named as their folders, and `prompt` is the picture's number."""

    question: str
    left: str
    right: str
    prompt: int
    answer: str
    voter: str = ""


class Score(NamedTuple):
    """Elo points with a 95% interval; the mean over all runs is zero."""

    elo: float
    low: float
    high: float
    votes: int


def append_vote(
    path: pathlib.Path, vote: Vote, note: Callable[[str], None] = lambda text: None
) -> None:
    """Adds a vote as one line, whoever else writes; it is on the disk when this returns.

    Args:
        path: the file; made if missing.
        vote: the vote.
        note: receives a sentence if a line that a killed process left half written at the end has
            been moved to a file beside this one.

    Raises:
        InputError: it is no vote.
        OSError: the vote could not be kept; the file holds what it held.
    """
    text = json.dumps(_checked(vote)._asdict(), ensure_ascii=False)
    line = text.encode("utf-8", "backslashreplace") + b"\n"  # half a character, as JSON has it
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if torn := _torn(file):
            if _vote_in(torn) is None:
                aside = files.set_aside(path, torn)
                note(f"{path.name} ended in half a vote, which is now in {aside.name}.")
                file.truncate(file.seek(0, os.SEEK_END) - len(torn))
            else:  # a whole one, as an editor may leave it
                line = b"\n" + line
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def _torn(file: io.FileIO) -> bytes:
    """The end of a file after its last whole line."""
    place, found = file.seek(0, os.SEEK_END), b""
    while place and b"\n" not in found:
        start = max(place - _BLOCK, 0)
        file.seek(start)
        found, place = file.read(place - start) + found, start
    return found[found.rfind(b"\n") + 1 :]


def read_votes(path: pathlib.Path, note: Callable[[str], None] | None = None) -> list[Vote]:
    """All votes of a file, one JSON object a line with the fields of `Vote`.

    Args:
        path: the file.
        note: receives a sentence about each line that is no vote, which is passed over; without
            it, such a line is an error.

    Raises:
        InputError: the file cannot be read, or a line is no vote.
    """
    name = checks.shown(str(path), 200)
    try:
        lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    except OSError as error:
        raise InputError(f"votes {name} cannot be read: {error.strerror}.") from None
    votes = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            votes.append(_parse(line))
            continue
        except json.JSONDecodeError:
            fault = "it is not JSON"
        except (TypeError, ValueError, RecursionError) as error:
            fault = checks.printable(str(error))[:200]
        if note is None:
            raise InputError(f"line {number} of {name} is no vote: {fault}")
        glued = _vote_in(line[line.rfind(b"{") :])  # what was once written behind half a vote
        votes += [glued] if glued else []
        part = "begins with what" if glued else "is passed over: it"
        note(f"warning: line {number} of {name} {part} is no vote ({fault.rstrip('.')}).")
    return votes


def _parse(line: bytes) -> Vote:
    return _checked(Vote(**json.loads(line.decode("utf-8"))))


def _vote_in(line: bytes) -> Vote | None:
    try:
        return _parse(line)
    except (TypeError, ValueError, RecursionError):
        return None


def _checked(vote: Vote) -> Vote:
    checks.one_of("question", vote.question, tuple(QUESTIONS))
    checks.one_of("answer", vote.answer, ANSWERS)
    checks.whole("prompt", vote.prompt, 0, 2**31)
    names = (vote.left, vote.right, vote.voter)
    if not all(isinstance(n, str) and len(n) <= 200 for n in names) or vote.left == vote.right:
        raise InputError("a vote must name two different runs, in at most 200 letters each.")
    return vote


def elo_scores(votes: Iterable[Vote], *, resamples: int = 1000) -> dict[str, Score]:
    """Scores under which the votes are most likely (GLIDE, appendix on human evaluation).

    Run i beats j with probability 1 / (1 + 10^((E_j - E_i) / 400)); a tie is half a win for each.
    Two runs that were compared also get one tie that nobody gave, so that a run that won every
    time has a finite score. Intervals are percentiles of the Bayesian bootstrap (Rubin, 1981): each
    vote has a random weight of mean 1, and so has either half of those ties. Of two runs without
    ties that is the posterior under Jeffreys' prior, so one vote, or many alike, leave doubt.

    Args:
        votes: answers to one question.
        resamples: how often weights are drawn for the intervals.

    Raises:
        InputError: there are no votes, or some runs were never compared, not even through others.
    """
    given = list(votes)
    names = sorted({name for vote in given for name in (vote.left, vote.right)})
    if not given:
        raise InputError("there are no votes; there must be one or more.")
    place = {name: k for k, name in enumerate(names)}
    left = np.array([place[v.left] for v in given])
    right = np.array([place[v.right] for v in given])
    worth = np.array([{"left": 1.0, "right": 0.0, "tie": 0.5}[v.answer] for v in given])
    compared = np.zeros((len(names), len(names)))
    np.add.at(compared, (left, right), 1)
    compared += compared.T
    reach = np.linalg.matrix_power(compared + np.eye(len(names)) > 0, len(names))
    if not reach.all():
        raise InputError(
            f"the {len(names)} runs fall into groups that were never compared with each other; "
            "gather votes between them, or fit each group alone."
        )

    def fit(weights: np.ndarray, halves: np.ndarray) -> Float[np.ndarray, " k"]:
        wins = halves * (compared > 0)
        np.add.at(wins, (left, right), weights * worth)
        np.add.at(wins, (right, left), weights * (1 - worth))
        return _most_likely(wins)

    rng, n, k = np.random.default_rng(0), len(given), len(names)
    best = fit(np.ones(n), np.full((k, k), 0.5))
    draw = lambda: fit(rng.exponential(size=n), rng.gamma(0.5, size=(k, k)))
    resampled = np.stack([draw() for _ in range(resamples)])
    low, high = np.percentile(resampled, (2.5, 97.5), axis=0)
    counts = compared.sum(axis=1)
    return {
        name: Score(float(best[k]), float(low[k]), float(high[k]), int(counts[k]))
        for name, k in place.items()
    }


def _most_likely(wins: Float[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """Newton's method on the Bradley-Terry likelihood, which is concave; mean zero."""
    k = len(wins)
    strength, games = np.zeros(k), wins + wins.T
    for _ in range(100):
        p = 1 / (
            1 + np.exp(strength[None] - strength[:, None])
        )  # probability that row beats column
        slope = (wins - games * p).sum(axis=1)
        bend = games * p * (1 - p)
        hessian = np.diag(bend.sum(axis=1)) - bend
        # Adding the same to all changes nothing; the rank-one term pins the mean.
        step = np.linalg.solve(hessian + np.ones((k, k)) / k, slope)
        strength += step.clip(-2, 2)
        if np.abs(step).max() < 1e-10:
            break
    return (strength - strength.mean()) / _PER_POINT
