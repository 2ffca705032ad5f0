"""`glide-jax sample` as a user meets it: files, resuming, warnings, being killed."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from glide_jax import images

FEW = ("--steps", "2", "--upsample-steps", "2")


@pytest.fixture
def sample(cli, tiny_model, tmp_path):
    """`glide-jax sample` in few steps into a folder: (result, {name: pixels})."""

    def run(*argv, out="out"):
        result = cli("sample", "--model", tiny_model, "--out", tmp_path / out, *FEW, *argv)
        assert result.code == 0, result.err
        return result, read(tmp_path / out)

    return run


def read(folder) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob("*"))}


def test_pictures_are_named_by_prompt_seed_and_index_and_listed(sample, tmp_path):
    result, drawn = sample("A red  circle!", "--n", "2", "--seed", "7", "--first-index", "3")
    names = ["00000-a-red-circle-s7-i3.png", "00000-a-red-circle-s7-i4.png", "sheet.png"]
    assert list(drawn) == names
    assert result.out.split() == [str(tmp_path / "out" / name) for name in names]
    assert drawn[names[0]].shape == (32, 32, 3)


def test_the_text_of_a1111_lies_beside_the_parameters(sample, cli, tmp_path):
    (tmp_path / "prompts").write_text("red\n")
    for k, words in enumerate((["red"], ["--prompts-file", tmp_path / "prompts"])):
        sample(*words, "--a1111", out=str(k))
        [path] = (tmp_path / str(k)).iterdir()
        with Image.open(path) as picture:
            first, fields = picture.info["parameters"].split("\n")
        assert first == images.read_parameters(path)["prompt"] == "red"
        assert re.fullmatch(r"Steps: 2, .*Seed: 0, Size: 32x32, .*Version: glide_jax .*", fields)
    cli("repeat", path, "--a1111", "--out", tmp_path / "again")
    with Image.open(tmp_path / "again" / path.name) as again:
        assert again.info["parameters"] == f"{first}\n{fields}"


def test_the_text_of_a1111_needs_a_recorded_prompt(cli, tmp_path):
    result = cli("sample", "red", "--a1111", "--no-record-prompt", "--out", tmp_path / "out")
    assert result.code == 2
    assert "--a1111 writes the prompt" in result.complaint
    assert not (tmp_path / "out").exists()


def test_a_single_picture_has_no_sheet(sample):
    assert list(sample("red")[1]) == ["00000-red-s0-i0.png"]


@pytest.mark.parametrize(
    "prompt", ["", "日本語", "../../etc/passwd", "-- --", "a/b\\c:d*?", "x" * 300, "\x1b[31m\0\n"]
)
def test_any_prompt_makes_a_plain_file_name(sample, prompt, tmp_path):
    _, drawn = sample("--", prompt)
    [name] = drawn
    letters = "日本語" if prompt == "日本語" else "[a-z0-9-]{1,48}"
    assert re.fullmatch(rf"00000-{letters}-s0-i0\.png", name)
    assert images.read_parameters(tmp_path / "out" / name)["prompt"] == prompt


def test_prompts_of_a_kind_are_warned_of_and_may_be_refused(sample, tmp_path):
    result, drawn = sample("a nude woman")
    assert len(drawn) == 1
    assert "warning: the prompt filter finds in 'a nude woman': sexual (nude)." in result.err
    assert "prompt filter" not in sample("a gun")[0].err
    assert "prompt filter" not in sample("a nude man", "--prompt-filter", "sexual=off")[0].err


def test_prompts_can_be_left_out_of_files_and_their_names(sample, prompts, tmp_path):
    _, drawn = sample("a secret", "--no-record-prompt")
    assert list(drawn) == ["00000-picture-s0-i0.png"]
    assert b"secret" not in (tmp_path / "out" / "00000-picture-s0-i0.png").read_bytes()
    _, both = sample("another", "--no-record-prompt")
    assert len(both) == 2
    np.testing.assert_array_equal(both["00000-picture-s0-i0.png"], drawn["00000-picture-s0-i0.png"])
    sample("--prompts-file", prompts, "--no-record-prompt", out="many")
    result, _ = sample("--prompts-file", prompts, "--no-record-prompt", out="many")
    assert "3 of 3 prompts are drawn already" in result.err


def test_a_picture_can_be_drawn_again_from_its_parameters(sample, tmp_path, glide):
    _, drawn = sample("red", "--seed", "3", "--first-index", "2", "--guidance-scale", "1.5")
    [(name, pixels)] = drawn.items()
    p = images.read_parameters(tmp_path / "out" / name)
    [again] = glide(
        p["prompt"], seed=p["seed"], first_index=p["index"], steps=p["base"]["steps"],
        guidance_scale=p["base"]["guidance_scale"], upsample_steps=p["upsample"]["steps"],
    )  # fmt: skip
    np.testing.assert_array_equal(again.array, pixels)
    assert again.parameters == p


def test_the_base_alone_is_small(sample):
    # After --no-upsample its steps are an error, so this one says no FEW.
    result, drawn = sample("red", out="whole")
    assert [a.shape for a in drawn.values()] == [(32, 32, 3)]
    assert "plain: " in result.err


def test_no_picture_of_an_earlier_run_is_replaced(sample, tmp_path):
    alike = "a red cat wearing a very large blue hat on a chair in "  # in more than 48 letters
    _, first = sample(alike + "paris")
    for argv in ((alike + "rome",), (alike + "paris", "--guidance-scale", 2)):
        _, drawn = sample(*argv)
        assert len(drawn) == len(first) + 1
        for name, pixels in first.items():
            np.testing.assert_array_equal(drawn[name], pixels)
        first = drawn
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    result, _ = sample(alike + "rome")
    assert "1 of 1 pictures were there already and stay as they are" in result.err
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    assert images.read_parameters(result.out.strip())["prompt"] == alike + "rome"


def test_a_run_is_finished_beside_pictures_of_other_settings(sample, prompts):
    _, first = sample("--prompts-file", prompts)
    result, _ = sample("--prompts-file", prompts, "--guidance-scale", "2")
    gone = pathlib.Path(result.out.split()[1])
    gone.unlink()
    result, drawn = sample("--prompts-file", prompts, "--guidance-scale", "2")
    assert "2 of 3 prompts are drawn already" in result.err
    assert result.out.split()[0] == str(gone)
    assert len(drawn) == 8  # with a sheet for each setting
    for name, pixels in first.items():
        np.testing.assert_array_equal(drawn[name], pixels)
    # What is under its second name is found, also where the first has become free.
    (gone.parent / "00000-a-red-circle-s0-i0.png").unlink()
    result, _ = sample("--prompts-file", prompts, "--guidance-scale", "2")
    assert "3 of 3 prompts are drawn already" in result.err


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeffa red circle\r\n\n  two blue stars  \na \u2028 star\n", encoding="utf-8")
    return path


def test_a_file_of_prompts_is_drawn_and_finished_where_it_stopped(sample, prompts, tmp_path):
    _, first = sample("--prompts-file", prompts, "--n", "2")
    assert len(first) == 7
    assert {images.read_parameters(p)["prompt"] for p in (tmp_path / "out").glob("0*")} == {
        "a red circle", "two blue stars", "a \u2028 star",
    }  # fmt: skip
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    result, _ = sample("--prompts-file", prompts, "--n", "2")
    assert result.out == ""
    assert "3 of 3 prompts are drawn already" in result.err
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    # One that is gone, and one that is damaged, come back as they were; others stay.
    gone, damaged = (tmp_path / "out" / name for name in list(first)[1:4:2])
    gone.unlink()
    damaged.write_bytes(damaged.read_bytes()[:100])
    result, mended = sample("--prompts-file", prompts, "--n", "2")
    assert "1 of 3 prompts are drawn already" in result.err
    assert list(mended) == list(first)
    for name in first:
        np.testing.assert_array_equal(mended[name], first[name], err_msg=name)
    kept = [p for p, stamp in stamps.items() if p.stat().st_mtime_ns == stamp]
    assert [p.name for p in sorted(kept)] == [n for n in first if n.startswith("00002")]


def test_what_a_killed_process_left_of_any_picture_goes(sample, prompts, tmp_path):
    _, drawn = sample("--prompts-file", prompts, "--batch-size", 2)
    for name in drawn.keys() - {"sheet.png"}:
        (tmp_path / "out" / f".{name}.x1.tmp").write_bytes(b"half")
    _, again = sample("--prompts-file", prompts, "--batch-size", 2)
    assert again.keys() == drawn.keys()


def test_other_parameters_draw_anew(sample, prompts):
    sample("--prompts-file", prompts)
    result, _ = sample("--prompts-file", prompts, "--guidance-scale", "2")
    assert len(result.out.split()) == 4
    result, _ = sample("--prompts-file", prompts, "--guidance-scale", "2", "--batch-size", "4")
    assert result.out == ""


def test_the_sheet_shows_all_pictures_also_those_of_earlier_runs(sample, prompts, tmp_path):
    _, first = sample("--prompts-file", prompts)
    (tmp_path / "out" / "00000-a-red-circle-s0-i0.png").unlink()
    _, again = sample("--prompts-file", prompts)
    np.testing.assert_array_equal(again["sheet.png"], first["sheet.png"])


def test_a_cut_prompt_is_told_once_and_drawn(sample):
    long = "a red circle " * 9
    result, drawn = sample(long, long, "two blue stars")
    warnings = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert len(drawn) == 4


def test_a_seed_at_random_is_said_and_draws_the_same_again(sample):
    result, drawn = sample("red", "--seed", "random")
    [seed] = re.findall(r"^the seed is (\d+)$", result.err, re.MULTILINE)
    assert list(drawn) == [f"00000-red-s{seed}-i0.png"]
    _, again = sample("red", "--seed", seed, out="again")
    np.testing.assert_array_equal(*[[*each.values()] for each in (drawn, again)])
    other, _ = sample("red", "--seed", "random", out="other")
    assert f"the seed is {seed}\n" not in other.err


def test_a_seed_at_random_is_not_shared_by_processes(cli, prompts, tiny_model, tmp_path):
    argv = ("--num-processes", 2, "--process-id", 0, "--seed", "random", "--out", tmp_path / "o")
    result = cli("sample", "--prompts-file", prompts, "--model", tiny_model, *argv)
    assert result.code == 2
    assert "--seed random would be another in each process" in result.complaint


def test_pictures_that_are_kept_have_their_scores_said(cli, tiny_full, tmp_path):
    argv = ("--n", 3, "--keep", 2, "--out", tmp_path / "out", *FEW)
    result = cli("sample", "red", "--model", tiny_full, *argv)
    assert result.code == 0, result.err
    said = re.findall(r"^(\S+): (-?[0-9.]+) by the CLIP, of 3 drawn$", result.err, re.MULTILINE)
    assert len(said) == 2
    for name, score in said:
        choice = images.read_parameters(tmp_path / "out" / name)["choice"]
        assert float(score) == pytest.approx(choice["score"], abs=0.005)
    assert float(said[0][1]) >= float(said[1][1])


@pytest.fixture
def known_model(tiny_model, tmp_path):
    """A model that says which captions it knows, and whose card has a licence."""
    folder = shutil.copytree(tiny_model, tmp_path / "known")
    about = {"about": "dots", "forms": ["a {colour} dot"], "words": {"colour": ["red", "blue"]}}
    (folder / "forms.json").write_text(json.dumps(about))
    (folder / "README.md").write_text("# known\n\n**Licence.** CC0. No more.\n")
    return folder


@pytest.mark.parametrize("by", ["words", "file"])
def test_prompts_of_no_form_get_one_note_in_all(sample, known_model, tmp_path, by):
    told = ("a blue dog", "a red dot", "a cat", "an elephant")
    words = told
    if by == "file":
        (tmp_path / "p.txt").write_text("\n".join(told))
        words = ("--prompts-file", tmp_path / "p.txt", "--batch-size", "1")
    result, _ = sample(*words, "--model", known_model)
    [note] = [line for line in result.err.splitlines() if "none of the forms" in line]
    assert "prompt 'a blue dog' (and 2 more of the prompts)" in note
    assert note.endswith("is 'a blue dot'.")
    result, _ = sample("a red dot", "--model", known_model)
    assert "forms" not in result.err


def test_models_lists_those_in_the_box_and_in_the_cache(cli, known_model, tmp_path, monkeypatch):
    monkeypatch.setattr("glide_jax.cli.common.cache_folder", lambda: tmp_path / "cache")
    shutil.copytree(known_model, tmp_path / "cache" / "models" / "mine")
    broken = shutil.copytree(known_model, tmp_path / "cache" / "models" / "odd")
    (broken / "config.json").write_text("{")
    result = cli("models")
    assert result.code == 0
    for line in (
        "shapes  64 and 256 pixels; licence: MIT, as the code",
        "    {number} {colour} {shapes} on a {background} background",
        "        {number}: two, three, four",
        "emoji-inpaint  64 and 256 pixels; paints into pictures; licence: As for `emoji`",
        "mine  16 and 32 pixels; licence: CC0",
        "    dots",
        "    a {colour} dot",
        "        {colour}: red, blue",
        "odd  cannot be used: ",
    ):
        assert any(each.startswith(line) for each in result.out.splitlines()), line
    assert str(tmp_path / "cache" / "models") in result.err


def test_a_cache_that_cannot_be_made_is_told_and_no_obstacle(shell, tiny_model, tmp_path):
    (tmp_path / "file").write_text("here")
    environment = os.environ | {"GLIDE_JAX_CACHE": str(tmp_path / "file")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # a user's own, which would be taken
    argv = ("sample", "red", "--model", tiny_model, "--program", tmp_path / "none")
    result = shell(*argv, "--out", tmp_path / "out", env=environment)
    assert result.code == 2  # there is no such program; the cache came first
    assert "warning: Cache" in result.err


@pytest.mark.slow
def test_killed_at_any_time_only_whole_pictures_are_there_and_the_rest_follows(
    shell, tiny_model, tmp_path, cache
):
    path, out = tmp_path / "prompts.txt", tmp_path / "out"
    path.write_text("".join(f"prompt number {i}\n" for i in range(40)))
    argv = ["sample", "--prompts-file", path, "--model", tiny_model, "--out", out, "--steps", "20"]
    argv += ["--batch-size", "1", "--upsample-steps", "2"]
    command = [sys.executable, "-m", "glide_jax", *map(str, argv)]
    environment = os.environ | {"GLIDE_JAX_CACHE": str(cache)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 200
        while len(list(out.glob("*.png"))) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    drawn = read(out)
    assert 3 <= len([name for name in drawn if name.endswith(".png")]) < 40
    path.write_text("".join(f"prompt number {i}\n" for i in range(len(drawn) + 2)))
    result = shell(*argv)
    assert result.code == 0, result.err
    assert 2 <= len(result.out.split()) <= 4  # two that are new, the sheet, one half-done at most
    finished = read(out)
    for name in drawn.keys() & finished.keys():
        np.testing.assert_array_equal(finished[name], drawn[name])


def test_interrupted_is_one_sentence(cli, tiny_model, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("glide_jax.images.write_png", interrupt)
    result = cli("sample", "red", "--model", tiny_model, "--out", tmp_path / "out", *FEW)
    assert result.code == 130
    assert result.complaint == "interrupted; what was finished is kept."


def test_full_memory_is_one_sentence(cli, tiny_model, tmp_path, monkeypatch):
    def exhaust(*_, **__):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nmore")

    monkeypatch.setattr("glide_jax.sampling.running.Running.advance", exhaust)
    result = cli("sample", "red", "--model", tiny_model, "--out", tmp_path / "out", *FEW)
    assert result.code == 2
    assert "--batch-size" in result.complaint
    assert not (tmp_path / "out").exists()


COMMANDS = (
    "sample",
    "inpaint",
    "edit",
    "vary",
    "upscale",
    "interpolate",
    "repeat",
    "import",
    "export",
    "download",
    "doctor",
    "models",
)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself(cli, command, flag):
    result = cli(*command, flag)
    assert result.code == 0
    assert result.err == ""
    assert "Usage: glide-jax" in result.out
    assert all(len(line) <= 80 for line in result.out.splitlines())


def test_without_arguments_there_is_help(cli):
    assert "Usage: glide-jax" in cli().out


def test_the_version_is_told(cli):
    from glide_jax.version import __version__

    assert __version__ in cli("--version").out


def test_help_is_quick_since_it_imports_no_jax(shell):
    code = "import sys; sys.argv[1:] = ['--help']; from glide_jax.cli.main import main\n"
    code += "try: main()\nexcept SystemExit: print('jax' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_a_closed_pipe_is_no_traceback(cache):
    command = f"{sys.executable} -m glide_jax doctor | head -c 1"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True,
        env=os.environ | {"GLIDE_JAX_CACHE": str(cache)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
