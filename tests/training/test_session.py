"""Workdirs that something has happened to: one sentence before any work, and nothing changed."""

import json
import os
import shutil

import pytest

from glide_jax import files
from glide_jax.errors import InputError
from glide_jax.training import config, data_notes, session
from glide_jax.training.run import Run


@pytest.fixture
def workdir(tmp_path):
    """The folder of a run with a checkpoint, as far as it is looked at before the data is read."""
    (tmp_path / "w" / "checkpoints" / "7").mkdir(parents=True)
    config.keep_config(tmp_path / "w", config.read_config("shapes_64:smoke"))
    return tmp_path / "w"


def refused(workdir, says):
    before = sorted(workdir.rglob("*"))
    said: list[str] = []
    with pytest.raises(InputError, match=says) as caught:
        session.train(config.read_config("shapes_64:smoke"), workdir, say=said.append)
    assert sorted(workdir.rglob("*")) == before
    assert not said
    assert len(str(caught.value)) < 700


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"null", "config.json' holds None; it must be a JSON object; it decides whether"),
        (b"[1]", r"config.json' holds \[1\]; it must be"),
        (b"\xff\xfe\0", "config.json' is not valid JSON.*put it back"),
        (b"", "config.json' is not valid JSON.*put it back"),
        (b'{"seed": ', "config.json' is not valid JSON"),
        (DEEP, "config.json' is not valid JSON"),
        (b'{"a":' * 700 + b"1" + b"}" * 700, "nested too deeply|not valid JSON|holds a run with"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "config.json' is not valid JSON"),
        (b"{}", "holds a run with .* = absent, and this config has"),
        (b'{"optim": 5}', "holds a run with optim = 5, and this config has absent"),
    ],
)
def test_a_config_that_is_none_is_one_sentence(workdir, content, says):
    (workdir / "config.json").write_bytes(content)
    refused(workdir, says)


def test_a_config_that_is_gone_is_one_sentence(workdir):
    (workdir / "config.json").unlink()
    refused(workdir, "config.json' is missing; it decides whether the checkpoints")
    os.mkfifo(workdir / "config.json")
    refused(workdir, "config.json' is no file")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"null", "spec.json' holds None"),
        (DEEP, "spec.json' is not valid JSON"),
        (b"\xff", "spec.json' is not valid JSON"),
        (b"{}", "kind is None"),
        (b'{"kind": [1]}', r"kind is \[1\]"),
        (b'{"kind": "sentencepiece", "file": 5}', "file is 5"),
    ],
)
def test_a_tokenizer_that_is_none_is_one_sentence(workdir, content, says):
    (workdir / "tokenizer").mkdir()
    (workdir / "tokenizer" / "spec.json").write_bytes(content)
    refused(workdir, says)


@pytest.mark.parametrize(
    "name", ["tokenizer", "checkpoints", "tensorboard", "samples", "model", "profile"]
)
def test_what_is_in_the_way_of_a_folder_is_named_before_any_work(workdir, name):
    shutil.rmtree(workdir / name, ignore_errors=True)
    (workdir / name).write_text("here")
    refused(workdir, f"w/{name}' is no folder, and the run makes one of that name; move it away")
    (workdir / name).unlink()
    (workdir / name).symlink_to(workdir / "nowhere")
    refused(workdir, f"w/{name}' is no folder")


def test_what_is_in_the_way_of_the_model_is_named_before_any_work(workdir):
    (workdir / "model").mkdir()
    (workdir / "model" / "thesis.txt").write_text("mine")
    refused(workdir, "w/model' holds something other than a model")


def test_a_second_run_in_a_workdir_is_refused_by_the_first_ones_process(workdir):
    with files.held(workdir / ".lock", "it"):
        refused(
            workdir, f"--workdir '.*/w' is in use by process {os.getpid()} on .* since 2.*; wait"
        )
    refused_after = json.loads((workdir / "config.json").read_text())
    assert refused_after["seed"] == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"null", "data.json' holds None"),
        (DEEP, "data.json' is not valid JSON"),
        (b"", "data.json' is not valid JSON"),
        (b"{}", r"had None examples \(hash None\) and has 8 \(hash 'x'\)"),
        (b'{"examples": "\\u001b[2J", "hash": 5}', r"had '\\x1b\[2J' examples \(hash 5\)"),
    ],
)
def test_facts_of_the_data_that_are_none_are_not_taken_for_the_same(workdir, content, says):
    run = object.__new__(Run)
    object.__setattr__(run, "plan", _Plan)
    (workdir / "data.json").write_bytes(content)
    with pytest.raises(InputError, match=says):
        data_notes.check(run, {"examples": 8, "hash": "x"}, workdir)


class _Plan:
    config = config.read_config("shapes_64:smoke")
