"""Models of a hub of this machine; settings are read once, so each call is a process of its own."""

import json
import os
import pathlib
import pickle
import subprocess
import sys

import pytest

from glide_jax.errors import InputError
from glide_jax.model_dir import hub
from tests import fake_hub

BOXED = pathlib.Path(hub.__file__).parents[1] / "boxed" / "shapes"


@pytest.fixture(scope="module")
def served():
    with fake_hub.running() as (fake, address):
        yield fake, address


@pytest.fixture
def call(served, tmp_path):
    """Runs Python with this hub and an empty cache of its own; returns the finished process."""
    _, address = served

    def run(code: str, **environment: str) -> subprocess.CompletedProcess:
        settings = dict(HF_ENDPOINT=address, HF_HOME=str(tmp_path / "hf"), HF_HUB_DISABLE_XET="1",
                        HF_HUB_DISABLE_TELEMETRY="1", JAX_PLATFORMS="cpu")  # fmt: skip
        return subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **settings, **environment},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


FETCH = """
from glide_jax.errors import InputError
from glide_jax.model_dir import hub
try:
    print(hub.fetch({address!r}))
except InputError as error:
    print("refused:", error)
"""


def files_of(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_model_is_fetched_once_and_then_without_a_network(served, call):
    fake, _ = served
    evil = pickle.dumps(print)
    first = fake.put("ada/shapes", {**files_of(BOXED), "model.bin": evil, "run.py": b"boom"})
    folder = pathlib.Path(call(FETCH.format(address="hf://ada/shapes")).stdout.strip())
    assert files_of(folder) == files_of(BOXED)  # and nothing else
    offline = dict(HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    again = call(FETCH.format(address="hf://ada/shapes"), **offline)
    assert again.stdout.strip() == str(folder)
    at = call(FETCH.format(address=f"hf://ada/shapes@{first}"), **offline)
    assert at.stdout.strip() == str(folder)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("hf://ada/unknown", "there is no such model, or it is private"),
        ("hf://ada/shapes@v9", "there is no such revision"),
        ("hf://ada/empty", "has no config.json, so it is no model of glide_jax"),
        ("hf://shapes", "is no model of a hub; write hf://USER/MODEL"),
        ("hf://ada/../etc", "is no model of a hub"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(served, call, address, sentence):
    fake, _ = served
    fake.put("ada/shapes", files_of(BOXED))
    fake.put("ada/empty", {"pytorch_model.bin": b""})
    done = call(FETCH.format(address=address))
    assert done.stdout.startswith("refused:"), done.stderr
    assert sentence in done.stdout
    assert done.stdout.count("\n") == 1


def test_what_is_not_cached_wants_a_network(call):
    done = call(FETCH.format(address="hf://ada/shapes"), HF_HUB_OFFLINE="1")
    assert "not in the cache" in done.stdout, done.stdout + done.stderr


PUSH = """
import contextlib, io, os, sys
from glide_jax.cli.main import main
for os.environ["HF_TOKEN"], *words in {calls!r}:
    sys.argv = ["glide-jax", "push", *words]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            code = main() or 0
        except SystemExit as error:
            code = error.code or 0
    print(code, " ".join(said.getvalue().split()))
"""


def test_a_model_is_sent_with_a_card_that_the_hub_reads(served, call):
    fake, _ = served
    words = ["right", "shapes", "ada/new", "--license", "mit", "--dataset", "ada/shapes"]
    sent = call(PUSH.format(calls=[words]))
    address, code = sent.stdout.split()
    assert (address.partition("@")[0], code) == ("hf://ada/new", "0"), sent.stderr
    there = fake.commits["ada/new"][address.split("@")[1]]
    assert {k: v for k, v in there.items() if k != "README.md"} == {
        k: v for k, v in files_of(BOXED).items() if k != "README.md"
    }
    card = there["README.md"].decode()
    assert card.startswith(
        "---\nlibrary_name: glide_jax\npipeline_tag: text-to-image\nlicense: mit\n"
    )
    assert "datasets:\n- ada/shapes\n" in card
    assert card.endswith((BOXED / "README.md").read_text(encoding="utf-8"))
    folder = pathlib.Path(call(FETCH.format(address=address)).stdout.strip())
    assert json.loads((folder / "config.json").read_text()) == json.loads(
        (BOXED / "config.json").read_text()
    )


def test_what_cannot_be_sent_is_one_sentence_and_sends_nothing(served, call, tmp_path):
    fake, _ = served
    held = len(fake.commits.get("ada/refused", {}))
    cases = {
        ("wrong", "shapes", "ada/refused"): "the hub wants a token that may do this",
        ("right", "shapes", "refused"): "is no model of a hub",
        ("right", "shapes-inpaint", "ada/refused"): "only a part",
        ("right", str(tmp_path), "ada/refused"): "config.json",
    }
    done = call(PUSH.format(calls=list(cases)))
    answers = done.stdout.splitlines()
    for answer, (words, sentence) in zip(answers, cases.items(), strict=True):
        assert answer.startswith("2 glide-jax: "), (words, answer)
        assert sentence in answer
    assert "Traceback" not in done.stdout + done.stderr
    assert len(fake.commits.get("ada/refused", {})) == held


def test_addresses_are_user_and_model():
    for wrong in ("hf://", "hf://a", "hf://a/b/c", "hf://a/b@", "hf:///b", "hf://a b/c"):
        with pytest.raises(InputError, match="is no model of a hub"):
            hub.fetch(wrong)
