"""`--quiet` and `--json`: what scripts read, and what is left out for them."""

import json
import pathlib

import click
import numpy as np
import pytest
from PIL import Image

from glide_jax import images
from glide_jax.cli import common, main
from glide_jax.cli.progress import progress_bars
from glide_jax.evaluation import votes

NUMBERS = ("sample", "inpaint", "edit", "vary", "upscale", "interpolate", "repeat", "verify",
           "shard", "eval", "sweep", "probe", "compare fit", "neighbours", "data speed", "models",
           "bench", "doctor")  # fmt: skip
FEW = ("--steps", "2", "--upsample-steps", "2")


def commands(command: click.Command = main.cli, words: str = ""):
    """Every command that is no group, by its words."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        each = command.get_command(context, name)
        assert each is not None
        yield from commands(each, f"{words} {name}".strip())


def test_every_command_has_quiet_once_and_those_of_numbers_have_json():
    found = {words: [param.name for param in each.params] for words, each in commands()}
    found |= {words: [param.name for param in each.params] for words, each in commands()}
    assert len(found) > 30
    assert all(names.count("quiet") == 1 for names in found.values())
    assert {words for words, names in found.items() if "json" in names} == {*NUMBERS}


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def ours(tmp_path) -> pathlib.Path:
    path = tmp_path / "ours\x9b.png"
    images.write_png(path, Image.new("RGB", (8, 8)), {"model": "shapes"})
    return path


def test_verify_answers_in_objects_and_the_next_command_in_words(cli, ours, tmp_path):
    other = tmp_path / "other.png"
    Image.new("RGB", (8, 8)).save(other)
    result = cli("verify", "--json", ours, other)
    assert result.code == 3
    first, second = objects(result.out)
    assert (first["path"], first["ours"], first["altered"]) == (str(ours), True, False)
    assert (second["path"], second["ours"]) == (str(other), False)
    assert cli("verify", other).out.startswith(str(other))


def test_models_have_their_facts(cli):
    found = {each["name"]: each for each in objects(cli("models", "--json", "--quiet").out)}
    assert found["shapes"]["sizes"] == [64, 256]
    assert found["shapes-inpaint"]["inpaints"] is True
    assert "circle" in str(found["shapes"]["forms"])
    assert found["shapes-few"]["distilled"] == {"base": 4, "upsample": 1}


def test_doctor_s_machine_is_an_object(cli, tiny_model):
    machine, *fits = objects(cli("doctor", "--json", "--model", tiny_model).out)
    assert machine["glide_jax"] == main.__version__
    assert "(cpu)" in machine["devices"]
    assert [each.get("stage") for each in fits] == [None, "base", "upsample"]
    assert fits[1]["parameters"] > 0


def test_votes_are_scored_in_numbers(cli, tmp_path):
    for answer in ("left", "left", "tie"):
        votes.append_vote(tmp_path / "votes.jsonl", votes.Vote("caption", "a", "b", 1, answer))
    [found] = objects(cli("compare", "fit", "--json", tmp_path / "votes.jsonl").out)
    assert (found["question"], found["votes"]) == ("caption", 3)
    a, b = (found["scores"][name] for name in "ab")
    assert a["low"] < a["elo"] < a["high"]
    assert a["elo"] > b["elo"]


def test_quiet_leaves_errors_and_warnings(cli, ours, capsys):
    assert "those in the box" in cli("models").err
    assert cli("models", "--quiet").err == ""
    assert cli("--quiet", "models").err == ""
    assert "does not exist" in cli("verify", "--quiet", ours.with_name("no.png")).err
    common.output = common.Output(quiet=True)
    common.say("a note")
    common.warn("a warning")
    with progress_bars("steps") as progress:
        progress("base", 1, 2)
        progress("base", 2, 2)
    assert capsys.readouterr().err == "a warning\n"


def test_drawn_pictures_come_with_their_parameters_and_nothing_else(cli, tiny_model, tmp_path):
    words = ("--model", tiny_model, "--out", tmp_path / "out", *FEW)
    result = cli("sample", "red", *words, "--json", "--quiet")
    [picture] = objects(result.out)
    assert result.err == ""
    assert picture["parameters"] == images.read_parameters(picture["path"])


def test_numbers_that_are_none_are_null(capsys):
    common.output = common.Output(json=True)
    common.result("x", {"a": [float("nan"), np.float32(0.5), np.int64(3)], "b": {1: (2,)}})
    common.result("a line for people")
    common.result(pathlib.Path("here"))
    assert objects(capsys.readouterr().out) == [
        {"a": [None, 0.5, 3], "b": {"1": [2]}}, {"path": "here"},
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    common.output = common.Output()
