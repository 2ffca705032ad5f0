"""Parts that commands share: names of files, and paths as people and shells write them."""

import importlib
import io
import os
import re
import sys
import unicodedata

import click
import pytest

from glide_jax import files
from glide_jax.cli import common, main
from glide_jax.errors import InputError

PATHS = re.compile(
    r"\b(file|folder|director\w+|checkout|picture that went in|pictures of yours)\b", re.I
)
NAMES = ("model", "config", "data", "path", "what", "picture", "workdir", "out", "start")
ELSEWHERE = ("--sha256", "--protocol", "--name", "--what")  # they speak of files and take none


def parameters():
    """Every command's options and arguments: (the command's words, the parameter)."""
    waiting = [
        (name, importlib.import_module(f"glide_jax.cli.{name.replace('-', '_')}_").command)
        for name in main.COMMANDS
    ]
    while waiting:
        name, command = waiting.pop()
        if isinstance(command, click.Group):
            waiting += [(f"{name} {key}", one) for key, one in command.commands.items()]
        yield from ((name, parameter) for parameter in command.params)


def test_every_option_and_argument_that_takes_a_path_reads_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    seen = set()
    for name, parameter in parameters():
        words = f"{parameter.name} {parameter.metavar or ''} {getattr(parameter, 'help', '') or ''}"
        takes_path = bool(PATHS.search(words)) or isinstance(parameter.type, click.Path)
        takes_path |= parameter.name in NAMES
        takes_path &= not getattr(parameter, "is_flag", False)
        takes_path &= parameter.opts[0] not in ELSEWHERE
        if takes_path:
            assert parameter.type in (common.PATH, common.PLACE), (name, parameter.opts)
            value = parameter.type.convert("~/x", parameter, None)
            assert str(value) == "/home/me/x", (name, parameter.opts)
            seen.add(f"{name} {parameter.opts[-1]}")
    assert {"sample --out", "sample --prompts-file", "train --config", "data build --path",
            "eval --clip-file", "pack --rest-of", "finetune model"} <= seen  # fmt: skip
    assert len(seen) > 60


@pytest.mark.parametrize("text", ["~", "~/a b", "~root/x"])
def test_a_tilde_is_a_home(text, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "~" not in str(common.PATH.convert(text, None, None))


@pytest.mark.parametrize("text", ["a~b", "./~", "/tmp/~x", "-"])
@pytest.mark.parametrize("kind", [common.PATH, common.PLACE])
def test_a_tilde_elsewhere_is_a_letter(kind, text):
    once = kind.convert(text, None, None)
    assert os.path.abspath(once) == os.path.abspath(text)
    assert os.path.abspath(files.expanded(once)) == os.path.abspath(text)


def test_a_home_that_is_not_there_is_named_unless_a_file_has_the_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"'~nosuch' has no home folder here; .* ./~nosuch"):
        common.PATH.convert("~nosuch/x", None, None)
    (tmp_path / "~nosuch").touch()
    assert common.PATH.convert("~nosuch", None, None) == tmp_path / "~nosuch"


def test_an_empty_path_is_not_this_folder(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--out': it is empty; give a path" in cli("sample", "red", "--out=").complaint
    assert list(tmp_path.iterdir()) == []


def test_without_a_home_the_cache_asks_for_a_folder(monkeypatch):
    monkeypatch.setenv("GLIDE_JAX_CACHE", "~nosuch/cache")
    with pytest.raises(InputError, match="set GLIDE_JAX_CACHE"):
        common.cache_folder()


@pytest.mark.parametrize("words", [("--prompts-file", "-"), ("-",)])
def test_prompts_come_from_standard_input(words, cli, tiny_model, tmp_path, monkeypatch):
    text = "a red circle\r\n\n  caf\u00e9\u2028x \n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    from glide_jax.cli import sample_

    seen = []
    monkeypatch.setattr(sample_.bulk, "draw_share", lambda load, prompts, *_: seen.append(prompts))
    assert cli("sample", *words, "--model", tiny_model, "--out", tmp_path / "out").code == 0
    assert seen == [("a red circle", "café\u2028x")]


@pytest.mark.parametrize("word", ["-10 degrees outside", "-5", "-hot day", "--help me now"])
def test_a_prompt_that_begins_with_a_dash_is_answered_kindly(word, cli, tmp_path):
    result = cli("sample", word, "--out", tmp_path / "out")
    assert result.code == 2
    assert 'A prompt that begins with a dash comes last, after --: -- "-10 degrees".' in result.err
    assert not (tmp_path / "out").exists()


def test_a_misspelt_option_is_answered_as_one(cli):
    complaint = cli("sample", "red", "--stesp", "3").complaint
    assert "--stesp" in complaint
    assert "prompt" not in complaint


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red  circle!", "a-red-circle"),
        ("Катя", "катя"),
        ("犬", "犬"),
        ("हिन्दी में", "हिन्दी-में"),  # its vowels are marks, not letters
        ("🎈 and 🎈", "🎈-and-🎈"),
        ("a_b.c", "a-b-c"),
        ("", "empty"),
        ("?!/..", "empty"),
        ("\u202egnp.exe\x1b[31m", "gnp-exe-31m"),  # nothing that turns or colours a terminal
    ],
)
def test_letters_of_every_script_are_kept(prompt, name):
    assert common.slug(prompt) == name


def test_one_text_in_two_unicode_forms_is_one_name():
    assert common.slug(unicodedata.normalize("NFD", "Café Ångström")) == "café-ångström"


@pytest.mark.parametrize("letter", ["x", "é", "犬", "🎈", "e\u0301\u0302"])
def test_a_name_has_few_bytes_whatever_the_script(letter):
    name = common.slug(letter * 300)
    assert 20 <= len(name.encode()) <= 80
    assert "\ufffd" not in name


def test_a_file_system_without_a_letter_does_without_it(monkeypatch):
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "latin-1")
    assert common.slug("café 犬 x") == "café--x"


def test_the_address_of_a_hub_s_model_is_no_path(cli, tiny_model, tmp_path, monkeypatch):
    from glide_jax.model_dir import hub

    asked = []
    monkeypatch.setattr(hub, "fetch", lambda address: asked.append(address) or tiny_model)
    monkeypatch.setattr(hub, "send", lambda directory, name, **_: f"{directory} as {name}")
    result = cli("push", "hf://ada/tiny@v1", "ada/mine")
    assert (result.code, result.out.strip()) == (0, f"{tiny_model} as ada/mine"), result.err
    assert asked == ["hf://ada/tiny@v1"]
