"""Files for pictures: what tells pictures apart tells names apart, and nothing is overwritten."""

import os

import pytest
from PIL import Image

from glide_jax import files, images
from glide_jax.cli import placing

RED, BLUE = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
P = {"prompt": "x", "seed": 0, "index": 0, "edit": None, "base": {"steps": "2"}}


def test_the_first_picture_has_the_plain_name_and_others_a_hash(tmp_path):
    names = [
        placing.write(tmp_path, "a", RED, {**P, **more}).path.name
        for more in ({}, {"prompt": "y"}, {"base": {"steps": "3"}}, {"edit": {"kind": "edit"}}, {})
    ]
    assert names[0] == names[4] == "a.png"
    assert len(set(names)) == 4
    assert all(len(name) == len("a-12345678.png") for name in names[1:4])


def test_pictures_of_one_setting_share_their_hash(tmp_path):
    for stem in ("a-i0", "a-i1"):
        placing.write(tmp_path, stem, RED, P)
    more = [{**P, "prompt": "y", "index": k} for k in (0, 1)]
    names = [placing.write(tmp_path, f"a-i{p['index']}", RED, p).path.stem for p in more]
    assert names[0].removeprefix("a-i0") == names[1].removeprefix("a-i1") != ""


def test_the_same_picture_is_found_and_left_whatever_its_batch(tmp_path):
    path, found = placing.write(tmp_path, "a", RED, {**P, "batch_size": 1})
    before = path.read_bytes()
    assert found == "nothing"
    assert placing.write(tmp_path, "a", BLUE, {**P, "batch_size": 4}) == (path, "same")
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["picture", "text", "folder", "link", "cut", "metadata", "pipe"])
def test_a_file_of_another_stays(tmp_path, kind):
    path = tmp_path / "a.png"
    if kind == "text":
        path.write_text("notes")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        BLUE.save(path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:60])
    if kind == "metadata":
        images.write_png(path, BLUE, {"prompt": [1, None]})
    mode = path.lstat()
    written, found = placing.write(tmp_path, "a", RED, P)
    assert (written == path, found) == (False, "nothing")
    assert path.lstat() == mode
    assert placing.write(tmp_path, "a", RED, P) == (written, "same")


def test_names_go_on_where_both_are_taken(tmp_path):
    usual = placing.paths(tmp_path, "a", P)
    for path in (next(usual), next(usual)):
        path.write_text("mine")
    path, _ = placing.write(tmp_path, "a", RED, P)
    assert path.stem.endswith("-2")


@pytest.mark.parametrize("length", [0, 100, -20])
def test_what_is_left_of_the_picture_is_replaced(tmp_path, length):
    path, _ = placing.write(tmp_path, "a", RED, P)
    path.write_bytes(path.read_bytes()[:length])
    assert placing.write(tmp_path, "a", RED, P) == (path, "broken")
    assert images.found(path, P) == "same"


def test_two_processes_do_not_take_one_name(tmp_path, monkeypatch):
    path, true = tmp_path / "a.png", images.found

    def late(at, parameters):
        found = true(at, parameters)
        if at == path and found == "nothing":  # the other writes just after we have looked
            images.write_png(at, BLUE, {**P, "prompt": "y"})
        return found

    monkeypatch.setattr("glide_jax.images.found", late)
    written, _ = placing.write(tmp_path, "a", RED, P)
    assert written != path
    assert images.read_parameters(path)["prompt"] == "y"


def test_without_links_a_new_file_is_new_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    with files.replacing(tmp_path / "a", new=True) as temporary:
        temporary.write_text("one")
    with (
        pytest.raises(FileExistsError),
        files.replacing(tmp_path / "a", new=True) as temporary,
    ):
        temporary.write_text("two")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "one")]


def test_a_sheet_is_known_by_its_pixels(tmp_path):
    write = lambda sheet: placing.write_sheet(tmp_path, "sheet", sheet, {"contact_sheet_of": 2})
    first, second = write(RED), write(BLUE)
    assert first.name == "sheet.png" != second.name
    assert (write(RED), write(BLUE)) == (first, second)
    assert images.read(first).getpixel((0, 0)) == (255, 0, 0)


def test_a_file_beside_a_picture_replaces_no_other(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"mine")
    write = lambda: placing.write_beside(tmp_path / "a.png", ".gif", b"new")
    assert write() == write() == tmp_path / "a-2.gif"
    assert (tmp_path / "a.gif").read_bytes() == b"mine"
