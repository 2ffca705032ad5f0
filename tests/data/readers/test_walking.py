"""Folders and patterns as people have them: links, pipes, braces, brackets, and a run's outputs."""

import os

import pytest
from PIL import Image

from glide_jax import images
from glide_jax.data.fingerprint import fingerprint
from glide_jax.data.readers.folder import Folder
from glide_jax.data.readers.walking import files_below, files_of
from glide_jax.data.tally import Tally
from glide_jax.errors import InputError


def put(folder, name, caption="a caption"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, "PNG")
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(source):
    return [source[k].name for k in range(len(source))]


def below(folder):
    passed = Tally()
    return sorted(files_below(folder, passed)), passed.counts


def test_folders_behind_links_are_entered_without_loops_and_each_once(tmp_path):
    put(tmp_path, "elsewhere/far.png")
    put(tmp_path, "data/sub/near.png")
    (tmp_path / "data/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/relative").symlink_to("../elsewhere")
    (tmp_path / "data/sub/up").symlink_to("..")
    (tmp_path / "data/self").symlink_to("self")
    (tmp_path / "data/gone").symlink_to("nowhere")
    source = Folder(tmp_path / "data")
    assert names(source) == ["link/far.png", "sub/near.png"]
    assert source.passed.counts == {
        "folders met a second time, through a link": 2, "links to nothing": 2
    }  # fmt: skip


def test_a_set_that_is_only_links_is_a_set(tmp_path):
    put(tmp_path, "real/a.png")
    (tmp_path / "only").mkdir()
    (tmp_path / "only/train").symlink_to("../real")
    (tmp_path / "whole").symlink_to("real")
    (tmp_path / "files").mkdir()
    for suffix in ("png", "txt"):
        (tmp_path / f"files/b.{suffix}").symlink_to(f"../real/a.{suffix}")
    for folder, wanted in (("only", "train/a.png"), ("whole", "a.png"), ("files", "b.png")):
        assert names(Folder(tmp_path / folder)) == [wanted]


def test_a_link_that_was_copied_as_text_is_named(tmp_path):
    put(tmp_path, "real/a.png")
    put(tmp_path, "data/b.png")
    (tmp_path / "data/more").write_text("../real")
    [line] = Folder(tmp_path / "data").passed.lines()
    assert "symbolic links that were copied as text" in line


def test_pipes_and_devices_are_passed_over_and_hang_nothing(tmp_path):
    put(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.png")
    os.mkfifo(tmp_path / "captions.jsonl")
    (tmp_path / "c.png").symlink_to("/dev/zero")
    (tmp_path / "metadata.jsonl").symlink_to("/dev/zero")
    source = Folder(tmp_path)
    assert names(source) == ["a.png"]
    assert source.passed.counts == {"pipes, sockets or devices": 4}


def test_a_folder_that_cannot_be_read_is_counted_and_named(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "secret/b.png")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert below(tmp_path) == (
        ["a.png"], {"folders that cannot be read (Permission denied)": 1}
    )  # fmt: skip
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        files_below(tmp_path / "secret", Tally())


def test_what_is_passed_over_is_counted_by_suffix_and_named(tmp_path):
    put(tmp_path, "a.png")
    touch(tmp_path, "b.heic", "in/c.HEIC", "d.psd", "LICENSE", ".DS_Store", "alone.txt")
    assert sorted(Folder(tmp_path).passed.lines()) == [
        ".heic files (2, such as 'b.heic')",
        ".psd files (1, such as 'd.psd')",
        "files without a suffix (1, such as 'LICENSE')",
        "hidden files or folders (1, such as '.DS_Store')",
        "text files without a picture of their name (1, such as 'alone.txt')",
    ]


def test_a_hundred_suffixes_are_a_few_lines():
    passed = Tally()
    for k in range(100):
        passed.add(f".{k:03} files", f"a.{k:03}")
    assert len(passed.lines()) == 13
    assert passed.lines()[-1] == "88 other kinds (88)"


@pytest.mark.parametrize("beside", ["checkpoints/1/x", "metrics.jsonl"])
def test_a_runs_own_outputs_are_no_data(tmp_path, beside):
    put(tmp_path, "a.png")
    touch(tmp_path, "run/config.json", f"run/{beside}")
    put(tmp_path, "run/samples/step_000100.png", None)
    source = Folder(tmp_path)
    assert names(source) == ["a.png"]
    assert source.passed.counts == {"folders of training runs": 1}
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"holds no pictures.*folders of training runs"):
        Folder(tmp_path)


def test_sheets_and_samples_of_ours_are_data_only_with_a_caption(tmp_path):
    put(tmp_path, "a.png")
    for name in ("out/a-sheet.png", "drawn.png"):
        images.write_png(tmp_path / name, Image.new("RGB", (9, 9)), {"prompt": "x"})
    (tmp_path / "drawn.txt").write_text("drawn by a model, and meant")
    put(tmp_path, "out/mute.png", None)
    source = Folder(tmp_path)
    assert [source._names[k] for k in range(len(source))] == ["a.png", "drawn.png", "out/mute.png"]
    assert source.passed.counts == {"pictures without a caption that glide-jax drew": 1}


def found(path, suffix=".tar"):
    return [str(one) for one in files_of(path, suffix, Tally())]


def test_braces_stand_for_numbers_and_words(tmp_path):
    touch(tmp_path, *(f"{k:05}.tar" for k in range(4)), "a-1.tar", "b-1.tar", "b-2.tar")
    p = f"{tmp_path}/"
    assert found(p + "{00000..00002}.tar") == [p + f"{k:05}.tar" for k in range(3)]
    assert found(p + "{00003..00002}.tar") == [p + "00002.tar", p + "00003.tar"]
    assert found(p + "{a,b}-1.tar") == [p + "a-1.tar", p + "b-1.tar"]
    assert found(p + "b-{1..2}.tar") == [p + "b-1.tar", p + "b-2.tar"]
    assert found(p + "{a,b}-*.tar") == [p + "a-1.tar", p + "b-1.tar", p + "b-2.tar"]


def test_a_shard_that_braces_name_and_that_is_missing_is_named(tmp_path):
    touch(tmp_path, "00000.tar", "00002.tar")
    with pytest.raises(InputError, match=r"00001\.tar' is not there, which .*\{00000\.\.00002\}"):
        found(f"{tmp_path}/{{00000..00002}}.tar")
    with pytest.raises(InputError, match="stands for 1,000,000,000 names"):
        found(f"{tmp_path}/{{000000000..999999999}}.tar")


@pytest.mark.parametrize("folder", ["[2024] pics", "a*b", "what?", "{x}", "{1..2}", "set [a-z]*"])
def test_brackets_and_stars_in_names_that_exist_are_names(tmp_path, folder):
    touch(tmp_path, f"{folder}/0.tar", f"{folder}/1.tar", f"{folder}/[1].tar", "2/0.tar")
    inside = tmp_path / folder
    assert len(found(inside)) == len(found(inside / "*.tar")) == 3
    assert found(inside / "[1].tar") == [str(inside / "[1].tar")]
    assert found(inside / "{0..1}.tar") == [str(inside / f"{k}.tar") for k in (0, 1)]
    put(tmp_path, f"{folder}/p[1].png")
    assert names(Folder(inside)) == ["p[1].png"]


def test_shards_behind_links_and_in_capitals_are_found(tmp_path):
    touch(tmp_path, "real/a.tar", "data/B.TAR", "data/c.tar.gz")
    (tmp_path / "data/link").symlink_to("../real")
    passed = Tally()
    paths = files_of(tmp_path / "data", ".tar", passed)
    assert [path.name for path in paths] == ["B.TAR", "a.tar"]
    assert passed.counts == {".gz files": 1}


@pytest.mark.parametrize("name", ["a\0b", "n" * 5000, "~nobody-of-this-name/x", ""])
def test_a_name_that_no_file_can_have_is_one_sentence(name):
    with pytest.raises(InputError, match=r"is no \.tar file"):
        found(name)
    with pytest.raises(InputError, match="does not exist"):
        Folder(name or "n" * 300)


def test_tensorflows_files_are_named_with_what_to_do(tmp_path):
    touch(tmp_path, *(f"x.tfrecord-{k:05}-of-00040" for k in range(40)), "LICENSE")
    with pytest.raises(InputError, match=r"\.tfrecord files \(40, .*must be written into such a"):
        Folder(tmp_path)


def test_folders_nested_beyond_what_a_path_can_name_are_counted(tmp_path):
    put(tmp_path, "a.png")
    here = os.open(tmp_path, os.O_RDONLY)
    opened = [here]
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=opened[-1])
        opened.append(os.open("d" * 200, os.O_RDONLY, dir_fd=opened[-1]))
    try:
        source = Folder(tmp_path)
        assert names(source) == ["a.png"]
        assert source.passed.counts == {"folders that cannot be read (File name too long)": 1}
    finally:
        while len(opened) > 1:  # pytest could not take it away
            os.close(opened.pop())
            os.rmdir("d" * 200, dir_fd=opened[-1])
        os.close(here)


def test_names_that_are_no_utf8_are_read_and_shown_escaped(tmp_path):
    put(tmp_path, os.fsdecode(b"caf\xe9.png"))
    (tmp_path / os.fsdecode(b"\xff.heic")).write_bytes(b"x")
    source = Folder(tmp_path)
    assert source[0].captions == ("a caption",)
    assert source.passed.lines() == [r".heic files (1, such as '\udcff.heic')"]
    assert len(fingerprint(source)) == 16
