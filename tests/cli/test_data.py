"""`glide-jax data` on sets of a few pictures."""

import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from glide_jax import images
from glide_jax.data.recipes import emoji
from tests.data import icons


@pytest.fixture
def data_dir(tmp_path):
    icons.write(tmp_path)
    return tmp_path


def test_a_set_is_built_and_said_where_with_counts_and_licences(cli, data_dir):
    done = cli("data", "build", "emoji_64", "--data-dir", data_dir)
    assert done.code == 0
    assert done.out.split() == [str(data_dir / "emoji_64/1.0.0")]
    assert "pictures in train" in done.err
    assert "left out at building: 1 blank" in done.err
    assert "Twemoji by Twitter, Inc and other contributors, CC-BY-4.0" in done.err


def test_without_people_it_is_a_set_of_its_own(cli, data_dir):
    done = cli("data", "build", "emoji_64", "--no-people", "--data-dir", data_dir)
    assert done.out.split() == [str(data_dir / "emoji_no_people_64/1.0.0")]


def test_the_default_place_is_in_the_cache(cli, cache):
    done = cli("data", "build", "shapes_64", "--size", 5)
    assert done.out.split() == [str(cache / "data/shapes_64/1.0.0")]


def test_looking_at_a_built_set_shows_its_pictures_and_says_its_numbers(cli, data_dir, tmp_path):
    cli("data", "build", "emoji_64", "--data-dir", data_dir)
    done = cli(
        "data", "look", "emoji_64", "--data-dir", data_dir, "--out", tmp_path / "o", "--n", 9
    )
    assert done.code == 0
    sheet, words = (tmp_path / "o" / f"emoji-64-{name}.png" for name in ("sheet", "words"))
    assert done.out.split() == [str(sheet), str(words)]
    assert images.read(sheet).size == (608, 692)
    assert not {"xmp"} & (images.read(sheet).info.keys() | images.read(words).info.keys())
    assert images.read(words).size == (900, 450)
    assert "looking at the split train" in done.err
    assert "are 64 x 64 pixels" in done.err
    assert "words in a caption:" in done.err


def test_looking_at_a_folder_says_what_is_rejected_and_why(cli, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for k in range(3):
        Image.new("RGB", (30, 20), (k, 99, 0)).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text("a green thing\n")
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "bad.txt").write_text("a lie\n")
    Image.new("RGB", (5, 5)).save(folder / "mute.png")
    done = cli("data", "look", folder, "--out", tmp_path / "out")
    assert done.code == 0
    assert "3 of 5 records looked at are usable" in done.err
    assert "1 rejected: corrupt image, such as corrupt image (bad.png" in done.err
    assert "1 rejected: no caption, such as no caption (mute.png)" in done.err
    assert "3 are 30 x 20 pixels" in done.err


def fill(folder, *names, caption="a green thing"):
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", (30, 20), (0, 99, 0)).save(folder / name, "PNG")
        (folder / name).with_suffix(".txt").write_text(caption)


def test_looking_says_what_is_passed_over_and_names_the_first_of_each_bad_kind(cli, tmp_path):
    fill(tmp_path / "mine", "a.png", "b.jpg", "c.jpg", "d.jpg", "e.jpg", caption="long " * 300)
    (tmp_path / "mine/f.heic").write_bytes(b"x")
    (tmp_path / "mine/b.jpg").write_bytes(b"<!DOCTYPE html><html>403</html>")
    (tmp_path / "mine/c.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "mine/d.jpg").write_bytes(b"")
    (tmp_path / "mine/e.jpg").write_bytes(b"\x1b[2J no picture")
    done = cli("data", "look", tmp_path / "mine", "--out", tmp_path / "out")
    assert done.code == 0
    for line in (
        "passed over: .heic files (1, such as 'f.heic')",
        "1 rejected: web page, such as web page (b.jpg: it is an HTML page",
        "1 rejected: Git LFS pointer, such as Git LFS pointer (c.jpg: ",
        "1 rejected: empty file, such as empty file (d.jpg: it has no bytes)",
        "1 rejected: corrupt image, such as corrupt image (e.jpg: ",
        "1 captions are longer than 128 tokens",
    ):
        assert line in done.err
    assert "BytesIO" not in done.err
    assert "\x1b" not in done.err


def test_looking_again_takes_none_of_what_looking_wrote(cli, tmp_path):
    fill(tmp_path / "mine", "a.png")
    for _ in range(2):
        done = cli("data", "look", tmp_path / "mine", "--out", tmp_path / "mine/out")
        assert "1 of 1 records looked at are usable" in done.err
    assert "pictures without a caption that glide-jax drew (2, such as 'out/mine-" in done.err


def test_shards_are_looked_at_by_a_pattern_in_braces(cli, tmp_path):
    fill(tmp_path / "[a]", "a.png")
    for k in range(3):
        with tarfile.open(tmp_path / f"[a]/{k:05}.tar", "w") as tar:
            for suffix in ("png", "txt"):
                tar.add(tmp_path / f"[a]/a.{suffix}", f"{k}.{suffix}")
    for pattern, count in (("{00000..00001}.tar", 2), ("*.tar", 3), ("00002.tar", 1)):
        done = cli("data", "look", tmp_path / "[a]" / pattern, "--out", tmp_path / "out")
        assert f"{count} of {count} records looked at are usable" in done.err
    done = cli("data", "look", tmp_path / "[a]/{00002..00003}.tar", "--out", tmp_path / "out")
    assert (done.code, "00003.tar' is not there" in done.complaint) == (2, True)


def test_a_pipe_is_refused_at_once(cli, tmp_path):
    os.mkfifo(tmp_path / "x.tar")
    os.mkfifo(tmp_path / "pipe")
    for name in ("x.tar", "pipe"):
        done = cli("data", "look", tmp_path / name, "--out", tmp_path / "out")
        assert (done.code, done.err.count("\n")) == (2, 1)


def test_an_oblong_picture_is_shown_whole(cli, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.new("RGB", (300, 100), "red").save(folder / "a.png")
    (folder / "a.txt").write_text("red\n")
    cli("data", "look", folder, "--out", tmp_path)
    sheet = np.asarray(images.read(tmp_path / "mine-sheet.png")).astype(int)
    red = sheet[..., 0] - sheet[..., 1] > 128  # resizing rings at the edge
    assert (red.any(0).sum(), red.any(1).sum()) == (192, 64)


def test_sheets_of_two_folders_of_one_name_are_two(cli, tmp_path):
    for name in ("x", "y"):
        folder = tmp_path / name / "犬"
        folder.mkdir(parents=True)
        Image.new("RGB", (30, 20), "red").save(folder / "a.png")
        (folder / "a.txt").write_text(f"a {name} thing\n")
    looks = [cli("data", "look", tmp_path / n / "犬", "--out", tmp_path / "o").out for n in "xyx"]
    sheets = [look.split()[0] for look in looks]
    assert sheets[0] == sheets[2] == str(tmp_path / "o/犬-sheet.png") != sheets[1]
    assert len(list((tmp_path / "o").glob("*-sheet*.png"))) == 2


@pytest.mark.parametrize("what", ["shapes_endless", "shapes_64"])
def test_shapes_are_looked_at_drawn_or_built(cli, data_dir, tmp_path, what):
    cli("data", "build", "shapes_64", "--size", 5, "--data-dir", data_dir)
    done = cli(
        "data", "look", what, "--data-dir", data_dir, "--out", tmp_path / "o", "--records", 20
    )
    assert done.code == 0
    assert "are 64 x 64 pixels" in done.err


def test_a_built_set_is_packed_into_parquet_files_that_can_be_looked_at(cli, data_dir, tmp_path):
    cli("data", "build", "emoji_256", "--data-dir", data_dir)
    done = cli("data", "pack", "emoji_256", tmp_path / "packed", "--data-dir", data_dir)
    assert str(tmp_path / "packed/train.parquet") in done.out.split()
    looked = cli("data", "look", tmp_path / "packed/train.parquet", "--out", tmp_path / "o")
    assert looked.code == 0
    assert "are 256 x 256 pixels" in looked.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["build", "emojis"], "there is no set 'emojis'; known are shapes_64, "),
        (["build", "shapes_64", "--size", "few"], "size is 'few'; it must be a whole number"),
        (["build", "shapes_64", "--no-people"], "--no-people is for emoji_64 and emoji_256"),
        (["build", "emoji_64", "--size", 3], "only the shapes sets have a size"),
        (["build", "coco_64"], "give it with --path"),
        (["build", "coco_64", "--download"], "into the folder that --path gives"),
        (["look", "emoji_64"], "run `glide-jax data build emoji_64`"),
        (["look", "nothing/here"], "neither a file or folder nor a set"),
        (["look", __file__], "is no .tar or .parquet file; give one, or a folder"),
        (["look", "shapes_endless", "--split", "x"], "split is 'x'"),
        (["look", "shapes_endless", "--n", 0], "n is '0'; it must be a whole number"),
        (["pack", "shapes_endless", "packed"], "is not a built set"),
    ],
)
def test_a_wrong_word_is_one_sentence(cli, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    done = cli("data", *words, "--data-dir", tmp_path / "data")
    assert done.code == 2
    assert sentence in done.complaint


def test_a_missing_client_is_one_sentence(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    done = cli("data", "build", "emoji_64", "--data-dir", tmp_path)
    assert done.code == 2
    assert "npm is not installed" in done.complaint
    assert emoji.LABELS.archive in done.complaint


def test_the_help_of_all_commands_names_data(cli):
    assert "Build captioned sets, look at them, and filter them." in cli("--help").out


def test_the_speed_of_reading_is_said(cli):
    done = cli("data", "speed", "--config", "shapes_64:smoke", "--seconds", "0.2",
               "--config.train.batch_size=4")  # fmt: skip
    assert done.code == 0, done.err
    rate, rest = done.out.strip().split(" ", 1)
    assert float(rate.replace(",", "")) > 1
    assert rest == "pictures/s in batches of 4 with 0 workers"
    done = cli("data", "speed", "--config", "shapes_64:smoke", "--seconds", "0")
    assert done.code == 2
    assert done.complaint  # one; the first reading's thread may still warn of long captions
