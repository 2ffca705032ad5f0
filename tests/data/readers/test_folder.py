"""Folders of pictures with captions beside them or in a table."""

import itertools
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from glide_jax.data.example import Rejected
from glide_jax.data.loader import DataOptions, Loader
from glide_jax.data.readers.folder import Folder
from glide_jax.errors import InputError
from glide_jax.tokenizers import GlideBPE


def put(folder, name, caption=None, grey=0):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (grey,) * 3).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, "utf-8")


def table(folder, name, *rows):
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")


def test_captions_are_the_lines_of_the_text_beside_a_picture(tmp_path):
    put(tmp_path, "b.png", "one\n\n two \r\n", 7)
    put(tmp_path, "a.jpg", "\ufeffÜber", 9)
    source = Folder(tmp_path)
    assert [example.name for example in source] == ["a.jpg", "b.png"]
    assert [example.captions for example in source] == [("Über",), ("one", "two")]
    assert (source[1].image == 7).all()
    assert source[1].image.shape == (20, 20, 3)


def test_folders_nest_and_their_order_is_that_of_the_names(tmp_path):
    names = ["z.png", "b/c/x.webp", "b/a.gif", "a/B.PNG"]
    for name in names:
        put(tmp_path, name, name)
    put(tmp_path, ".hidden/x.png", "no")
    put(tmp_path, "._z.png", "no")
    (tmp_path / "notes.md").write_text("no picture")
    assert [example.name for example in Folder(tmp_path)] == sorted(names)
    assert [example.captions[0] for example in Folder(tmp_path)] == sorted(names)


@pytest.mark.parametrize("name", ["captions.jsonl", "metadata.jsonl"])
def test_captions_may_come_from_one_table(tmp_path, name):
    for k in range(5):
        put(tmp_path, f"in/{k}.png")
    table(
        tmp_path,
        name,
        {"file_name": "in/0.png", "text": "zero"},
        {"image": "in/1.png", "caption": "one"},
        {"image": "./in/2.png", "captions": ["two", " ", None, "deux"]},
        {"image": "in/3.png", "text": "three", "caption": "drei"},
        {"image": "in/3.png", "text": "trois"},
        {"image": "in/4.png", "text": ["four"]},
    )
    assert [example.captions for example in Folder(tmp_path)] == [
        ("zero",),
        ("one",),
        ("two", "deux"),
        ("three", "drei", "trois"),
        ("four",),
    ]


def test_a_table_names_files_as_seen_from_its_own_folder(tmp_path):
    put(tmp_path, "train/0.png")
    table(tmp_path / "train", "metadata.jsonl", {"file_name": "0.png", "text": "zero"})
    assert Folder(tmp_path)[0].captions == ("zero",)


def test_text_beside_a_picture_goes_before_a_table(tmp_path):
    put(tmp_path, "a.png", "beside")
    table(tmp_path, "captions.jsonl", {"image": "a.png", "text": "table"})
    assert Folder(tmp_path)[0].captions == ("beside",)


def test_what_cannot_be_used_is_rejected_one_by_one(tmp_path):
    put(tmp_path, "a.png", "good")
    put(tmp_path, "b.png")
    put(tmp_path, "c.png", " \n")
    (tmp_path / "d.png").write_bytes(b"no picture")
    (tmp_path / "d.txt").write_text("a caption")
    put(tmp_path, "e.png")
    (tmp_path / "e.txt").write_bytes(b"\xff\xfe\xfa")
    table(tmp_path, "captions.jsonl", {"image": "f.png", "text": "gone"})
    source = Folder(tmp_path)
    assert source[0].name == "a.png"
    reasons = []
    for index in range(1, len(source)):
        with pytest.raises(Rejected, match=rf"{'abcdef'[index]}\.(png|txt)") as caught:
            source[index]
        reasons.append(caught.value.reason)
    assert reasons == [
        "no caption", "no caption", "corrupt image", "not UTF-8", "unreadable file",
    ]  # fmt: skip


def test_a_source_that_was_sent_to_a_worker_is_the_same(tmp_path):
    put(tmp_path, "a.png", "one", 3)
    there = pickle.loads(pickle.dumps(Folder(tmp_path)))
    assert there[0].captions == ("one",)
    assert (there[0].image == 3).all()


def test_a_folder_feeds_the_loader_and_its_gaps_are_counted(tmp_path):
    for k in range(6):
        put(tmp_path, f"{k}.png", f"number {k}", 10 * k)
    put(tmp_path, "6.png")
    options = DataOptions(image_size=16, batch_size=7, max_rejected=0.2)
    loader = Loader(Folder(tmp_path), GlideBPE(), 8, options)
    [batch] = itertools.islice(loader.batches(), 1)
    loader.close()
    greys = np.rint((batch["image"][:, 0, 0, 0] + 1) * 127.5)
    assert {0, 10, 20, 30, 40, 50} == set(greys)
    assert loader.rejections.by_reason == {"no caption": 1}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no pictures"),
        ({"a.txt": "alone"}, "holds no pictures"),
        ({"a.png": b"", "b.png": b""}, "none of the 2 pictures .* captions.jsonl"),
        ({"a.png": b"", "captions.jsonl": '{"image": "a.png"}\n{'}, "line 2 of .* not a JSON"),
        ({"a.png": b"", "captions.jsonl": '\n{"text": "x"}'}, "line 2 of .* names no file"),
        ({"a.png": b"", "captions.jsonl": "[1]"}, "line 1 of .* names no file"),
        ({"a.png": b"", "captions.jsonl": '{"image": 3}'}, "line 1 of .* names no file"),
        ({"a.png": b"", "captions.jsonl": '{"image": "../a.png"}'}, "lies outside"),
        ({"a.png": b"", "captions.jsonl": '{"image": "/etc/a.png"}'}, "lies outside"),
        ({"a.png": b"", "captions.jsonl": b"\xff\xfe"}, "cannot be read"),
    ],
)
def test_a_folder_that_cannot_be_meant_is_refused_in_one_sentence(tmp_path, files, message):
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        Folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere' does not exist"):
        Folder(tmp_path / "nowhere")
