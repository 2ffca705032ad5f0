"""Seeded damage to the small files of workdirs and of results is answered, never by a traceback."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from glide_jax import files
from glide_jax.errors import InputError
from glide_jax.evaluation import draws, setup, votes
from glide_jax.training import config, data_notes, folders, hooks, writers
from glide_jax.training.run import Run
from tests import fuzz

VOTE = votes.Vote("caption", "one", "two", 3, "left", "me")._asdict()
SPEC = {"kind": "glide_bpe", "sha256": None}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A config as a run keeps it."""
    folder = tmp_path_factory.mktemp("good")
    config.keep_config(folder, config.read_config("shapes_64:smoke"))
    return (folder / "config.json").read_bytes()


def _run() -> Run:
    run = object.__new__(Run)
    object.__setattr__(run, "plan", type("Plan", (), {"config": config.read_config("shapes_64")}))
    return run


def _lock(folder) -> None:
    with files.held(folder / ".lock", "it"):
        os.truncate(folder / ".lock", 0)
        (folder / ".lock").write_bytes((folder / "damaged").read_bytes())
        contextlib.ExitStack().enter_context(files.held(folder / ".lock", "it"))


def _curve(folder) -> None:
    writers.JsonLines(folder / "metrics.jsonl", 4).close()
    for line in (folder / "metrics.jsonl").read_bytes().split(b"\n")[:-1]:
        assert json.loads(line)["step"] <= 4


def _votes(folder) -> None:
    notes: list[str] = []
    before = votes.read_votes(folder / "votes.jsonl", notes.append)
    votes.append_vote(folder / "votes.jsonl", votes.Vote(**VOTE))
    after = votes.read_votes(folder / "votes.jsonl", notes.append)
    assert after[-1] == votes.Vote(**VOTE)
    assert len(after) in (len(before), len(before) + 1)  # half a vote behind a torn one is aside
    assert all(note.isprintable() and len(note) < 600 for note in notes)


def _meta(folder) -> None:
    try:
        hooks.check_window(json.loads((folder / "meta").read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError("damaged, as the store says") from None


LINES = b'{"step": 2, "loss": 1.0, "lr": 0.1}\n{"step": 4, "loss": 0.5, "lr": 0.1}\n'
KINDS: dict[str, tuple[str, bytes, Callable[[Any], object]]] = {
    "config": (
        "config.json", b"", lambda f: config.changes_since(f, config.read_config("shapes_64:smoke"))
    ),
    "tokenizer": ("tokenizer/spec.json", json.dumps(SPEC).encode(), folders.kept_tokenizer),
    "data": (
        "data.json", b'{"examples": 8, "hash": "00ff00ff00ff"}',
        lambda f: data_notes.check(_run(), {"examples": 8, "hash": "00ff00ff00ff"}, f),
    ),
    "lock": ("damaged", b'{"pid": 12, "host": "here", "since": "2026-01-01 00:00:00"}', _lock),
    "curve": ("metrics.jsonl", LINES, _curve),
    "votes": ("votes.jsonl", 3 * (json.dumps(VOTE).encode() + b"\n"), _votes),
    "meta": ("meta", b'{"window": [{"loss": 0.5, "nonfinite": 0.0}], "metric": 0.5}', _meta),
    "result": ("result.json", b'{"n": 8, "prompts_sha256": "00ff", "x": {"y": 0.5}}',
               draws.finished_result),
    "model": ("model.json", b'{"sha256": "00ff"}', lambda f: setup.claim_folder(f, "00ff")),
}  # fmt: skip


def damaged(kind: str, good: bytes, folder, count: int) -> Iterator[str | None]:
    name, content, read = KINDS[kind]
    (folder / "checkpoints" / "7").mkdir(parents=True)
    (folder / name).parent.mkdir(exist_ok=True)
    for data in fuzz.mutations(content or good, count=count, seed=24):
        (folder / name).write_bytes(data)
        yield fuzz.answers(lambda: read(folder), allowed=(InputError,))


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_answered(kind, good, tmp_path):
    found = list(damaged(kind, good, tmp_path, 40))
    assert kind in ("curve", "votes") or any(found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_much_damage_is_answered(kind, good, tmp_path):
    assert len(list(damaged(kind, good, tmp_path, 600))) == 600
