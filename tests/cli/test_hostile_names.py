"""Texts from outside that would steer a terminal are shown escaped, wherever they come from."""

import json
import os
import re
import shutil
import unicodedata

import pytest
from PIL import Image

from glide_jax import files, images, tables
from glide_jax.evaluation import report

ODD = "a\x1b[2J\x9b31m\u202eb\x07"  # as a name of a file, too
ESCAPED = r"a\x1b[2J\x9b31m\u202eb\x07"


def check_plain(result):
    """Nothing but text, line ends and the moves of progress bars reached the terminal."""
    text = (result.out + result.err).replace("\n", "").replace("\r", "").replace("\x1b[A", "")
    odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not odd, text
    assert "Traceback" not in text
    return result.out + result.err


@pytest.fixture
def odd_model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "models" / ODD)


@pytest.fixture
def odd_folder(tmp_path):
    folder = tmp_path / ODD
    folder.mkdir()
    for k in range(3):
        Image.new("RGB", (30, 20), (90 * k, 99, 0)).save(folder / f"{ODD}{k}.png")
        (folder / f"{ODD}{k}.txt").write_text(f"a {ODD} \u2028 thing\r")
    (folder / f"{ODD}.png").write_bytes(b"no picture")
    (folder / f"{ODD}.txt").write_text("a lie")
    return folder


def test_data_that_is_looked_at(cli, odd_folder, tmp_path):
    result = cli("data", "look", odd_folder, "--out", tmp_path / f"out{ODD}")
    assert result.code == 0, result.err
    assert ESCAPED in check_plain(result)


def test_a_prompt_and_the_names_of_a_model_and_a_folder(cli, odd_model, tmp_path):
    result = cli("sample", f"{ODD} \u2028 \r red", "--model", odd_model, "--out", tmp_path / ODD,
                 "--steps", 1, "--upsample-steps", 1)  # fmt: skip
    assert result.code == 0, result.err
    assert ESCAPED in check_plain(result)
    [path] = (tmp_path / ODD).glob("*.png")
    shown = check_plain(cli("repeat", path, "--out", tmp_path / "again"))
    assert shown


def test_a_long_prompt_in_a_warning_and_in_a_file(cli, odd_model, tmp_path):
    (tmp_path / "p.txt").write_text(f"{ODD} red circle \x85" * 30)
    result = cli("sample", "--prompts-file", tmp_path / "p.txt", "--model", odd_model, "--out",
                 tmp_path / "out", "--steps", 1, "--upsample-steps", 1)  # fmt: skip
    assert result.code == 0, result.err
    assert "warning: " in check_plain(result)


@pytest.mark.parametrize(
    "argv",
    [
        ["sample", "red", "--model", ODD],
        ["sample", "red", f"--{ODD}"],
        ["sample", "red", "--steps", ODD],
        ["sample", "red", "--sampler", ODD],
        ["sample", "red", "--device", ODD],
        ["sample", "red", "--dtype", ODD],
        ["sample", "red", "--mix", f"{ODD}:{ODD}"],
        ["sample", "--prompts-file", ODD],
        ["sample", "red", "--out", "{file}/" + ODD],
        [ODD],
        ["inpaint", ODD, "red", "--mask", ODD],
        ["edit", ODD, "red"],
        ["vary", ODD],
        ["upscale", ODD, "red"],
        ["repeat", ODD],
        ["data", "look", ODD],
        ["data", "build", ODD],
        ["data", "pack", ODD, "out"],
        ["download", ODD],
        ["import", ODD, "--out", "out"],
        ["export", ODD, "--out", "out"],
        ["compare", "fit", ODD],
        ["compare", "serve", ODD, ODD],
        ["eval", "--model", ODD],
        ["neighbours", ODD, "--data", ODD],
        ["pack", ODD, "--out", "out"],
        ["train", "--config", ODD, "--workdir", "w"],
        ["train", "--config", f"shapes_64:{ODD}", "--workdir", "w"],
        ["train", "--config", "shapes_64", "--workdir", "w", f"--config.{ODD}=1"],
        ["train", "--config", "shapes_64", "--workdir", "w", f"--config.optim.lr={ODD}"],
        ["train", "--config", "shapes_64", "--workdir", "w", f"--config.data.source={ODD}"],
        ["train", "--config", "folder_64", "--workdir", "w", f"--config.data.path={ODD}"],
        ["train", "--config", "shapes_64", "--workdir", "{file}/" + ODD],
        [
            "train",
            "--config",
            "shapes_64",
            "--workdir",
            "w",
            "--coordinator",
            ODD,
            "--num-processes",
            "2",
            "--process-id",
            "0",
        ],
        ["train", "--config", "shapes_64", "--workdir", "w", ODD],
        ["finetune", ODD, "--data", ODD, "--workdir", "w"],
    ],
    ids=lambda argv: " ".join(word for word in argv if ODD not in word)[:60] or "command",
)
def test_a_wrong_word(cli, argv, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("here")
    monkeypatch.chdir(tmp_path)
    result = cli(*(word.replace("{file}", str(tmp_path / "file")) for word in argv))
    assert result.code == 2, result.err
    check_plain(result)
    assert "x1b" in result.complaint


@pytest.mark.parametrize(
    "body",
    [
        f"raise ValueError({ODD!r})",
        f"raise KeyError({ODD!r})",
        f"return {{{ODD!r}: 1}}",
        f"import {'x'}\n    raise ImportError({ODD!r})",
        f"return {ODD!r}.{'x'}",
    ],
)
def test_a_config_that_fails_with_such_words(cli, body, tmp_path):
    path = tmp_path / f"{ODD}.py"
    path.write_text(f"def get_config(size=''):\n    {body}\n")
    result = cli("train", "--config", path, "--workdir", tmp_path / "w")
    assert result.code == 2
    check_plain(result)
    assert ESCAPED in result.complaint


def words(folder, workdir, *more):
    return ("train", "--config", "folder_64:smoke", "--workdir", workdir, *more,
            "--config.data.source=folder", f"--config.data.path={folder}")  # fmt: skip


@pytest.mark.slow
def test_a_run_whose_every_name_is_odd(cli, odd_folder, tmp_path):
    workdir = tmp_path / f"w{ODD}"
    for more in (["--dry-run"], ["--config.data.max_rejected=1"]):
        result = cli(*words(odd_folder, workdir, *more))
        assert result.code == 0, result.err
        shown = check_plain(result)
    assert ESCAPED in shown  # the picture that is not usable
    assert (workdir / "model" / "config.json").exists()


def test_a_name_that_its_model_could_not_be_read_with(cli, odd_folder, tiny_model, tmp_path):
    given = words(odd_folder, tmp_path / "w", f"--config.name={ODD}")
    for result in (
        cli(*given),
        cli("pack", tiny_model, tiny_model, "--name", ODD, "--out", tmp_path / "packed"),
    ):
        assert result.code == 2
        check_plain(result)
        assert f"name is '{ESCAPED}'; it must be printable text" in result.complaint
    assert not (tmp_path / "packed").exists()


def test_a_run_that_does_not_start(cli, odd_folder, tmp_path):
    workdir = tmp_path / f"w{ODD}"
    workdir.mkdir()
    with files.held(workdir / ".lock", "it"):
        result = cli(*words(odd_folder, workdir))
    check_plain(result)
    assert f"{ESCAPED}' is in use by process {os.getpid()} on " in result.complaint
    (workdir / "checkpoints" / "7").mkdir(parents=True)
    for content in (f'{{"{ODD}": 1}}', json.dumps({ODD: ODD}), json.dumps([ODD])):
        (workdir / "config.json").write_text(content)
        result = cli(*words(odd_folder, workdir))
        assert result.code == 2
        check_plain(result)
        assert ESCAPED in result.complaint


def test_metadata_of_a_picture(cli, tmp_path):
    path = tmp_path / "x.png"
    for parameters in ({"prompt": ODD, "model": ODD, "dtype": "float32"}, {ODD: ODD}, [ODD]):
        images.write_png(path, Image.new("RGB", (8, 8)), parameters)
        result = cli("repeat", path, "--out", tmp_path / "o")
        assert result.code == 2
        check_plain(result)


def test_votes(cli, tmp_path):
    path = tmp_path / "votes.jsonl"
    vote = {"question": "caption", "left": ODD, "right": "b", "prompt": 0, "answer": "left"}
    path.write_text(f"{json.dumps(vote)}\n{ODD}\n{json.dumps(vote)[:30]}{json.dumps(vote)}\n")
    result = cli("compare", "fit", path)
    assert result.code == 0, result.err
    shown = check_plain(result)
    assert ESCAPED in result.out
    assert "caption: 2 votes" in shown
    assert shown.count("warning: line ") == 2


def test_a_report(tmp_path):
    table = tables.table([(f"<b>{ODD}\u2028", 1.0)], ("prompt", "loss"))
    for path in report.write_report(tmp_path, f"<i>{ODD}", [table, f"a {ODD}"]):
        text = path.read_text(encoding="utf-8")
        assert re.sub(r"\\([\\[])", r"\1", text).count(ESCAPED) >= 3  # but for Markdown's escapes
        assert not {c for c in text if unicodedata.category(c) in ("Cf", "Zl", "Zp")}
        assert not set(text) & set(map(chr, [*range(10), *range(11, 32), *range(127, 160)]))
    assert "<b>" not in text
    assert "<i>" not in text
