"""WebDataset tars, read at random."""

import io
import json
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from glide_jax.data.example import Rejected
from glide_jax.data.readers import tars
from glide_jax.data.readers.webdataset import WebDataset
from glide_jax.errors import InputError


def picture(grey, kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (10, 12), (grey,) * 3).save(buffer, kind)
    return buffer.getvalue()


def pack(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def shard(path, first, count):
    files = {}
    for k in range(first, first + count):
        files |= {f"{k:05}.png": picture(k), f"{k:05}.txt": b"number %d" % k}
    pack(path, files)


def test_examples_are_the_files_of_one_name(tmp_path):
    files = {
        "a.json": json.dumps({"caption": "from json", "width": 3}).encode(),
        "a.jpg": picture(200, "JPEG"),
        "b.png": picture(2),
        "b.json": b'{"caption": "not this"}',
        "b.txt": b"\xef\xbb\xbfone\ntwo\n",
        "in/b.seg.png": picture(0),
        "in/b.webp": picture(3, "WEBP"),
        "in/b.cls": b"7",
        "in/b.TXT": b"below",
        "alone.txt": b"no picture",
    }
    pack(tmp_path / "x.tar", files)
    source = WebDataset(tmp_path / "x.tar")
    assert [(e.name, e.captions) for e in source] == [
        ("x.tar/a", ("from json",)),
        ("x.tar/b", ("one", "two")),
        ("x.tar/in/b", ("below",)),
    ]
    assert (source[1].image == 2).all()
    assert source[1].image.shape == (12, 10, 3)


def test_long_names_in_every_tar_format_are_found(tmp_path):
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        name = "d" * 60 + "/" + "ü" * 40
        path = tmp_path / f"{form}.tar"
        with tarfile.open(path, "w", format=form) as archive:
            for kind, data in ((".png", picture(5)), (".txt", b"long")):
                member = tarfile.TarInfo(name + kind)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        [example] = WebDataset(path)
        assert (example.captions, example.name) == (("long",), f"{form}.tar/{name}")


def test_shards_follow_each_other_by_name(tmp_path):
    shard(tmp_path / "2.tar", 10, 3)
    shard(tmp_path / "10.tar", 0, 4)
    (tmp_path / "deeper").mkdir()
    shard(tmp_path / "deeper" / "0.tar", 20, 1)
    for path, numbers in (
        (tmp_path, [0, 1, 2, 3, 10, 11, 12, 20]),
        (tmp_path / "*.tar", [0, 1, 2, 3, 10, 11, 12]),
    ):
        assert [int(e.image[0, 0, 0]) for e in WebDataset(path)] == numbers


def test_a_record_without_a_usable_part_is_rejected(tmp_path):
    files = {
        "a.png": picture(1),
        "b.png": b"broken", "b.txt": b"b",
        "c.png": picture(1), "c.json": b"{",
        "d.png": picture(1), "d.json": b'{"caption": null}',
        "e.png": picture(1), "e.json": b"[]",
        "f.png": picture(1), "f.txt": b"\xff",
    }  # fmt: skip
    pack(tmp_path / "x.tar", files)
    source, reasons = WebDataset(tmp_path), []
    for index in range(len(source)):
        with pytest.raises(Rejected, match=f"x.tar/{'abcdef'[index]}") as caught:
            source[index]
        reasons.append(caught.value.reason)
    assert reasons == ["no caption", "corrupt image", *["no caption"] * 3, "not UTF-8"]


def test_an_index_is_made_once_and_anew_when_the_tar_changes(tmp_path, monkeypatch):
    scans, scan = [], tars.scan
    monkeypatch.setattr(tars, "scan", lambda tar: scans.append(tar) or scan(tar))
    tar, cache = tmp_path / "x.tar", tmp_path / "cache"
    shard(tar, 0, 3)
    assert len(WebDataset(tar)) == len(WebDataset(tar)) == 3
    assert len(scans) == 1
    assert (tmp_path / "x.tar.index.npz").exists()
    shard(tar, 0, 2)
    assert len(WebDataset(tar)) == 2
    assert len(scans) == 2
    os.utime(tar, ns=(0, 0))
    assert len(WebDataset(tar)) == 2
    assert len(scans) == 3
    assert len(WebDataset(tar, cache=cache)) == len(WebDataset(tar, cache=cache)) == 2
    assert len(scans) == 4
    (tmp_path / "x.tar.index.npz").write_bytes(b"PK\x03\x04 damaged")
    assert len(WebDataset(tar)) == 2
    assert len(scans) == 5


def test_one_cache_serves_tars_of_one_name_in_different_folders(tmp_path):
    for k in (1, 2):
        (tmp_path / f"{k}").mkdir()
        shard(tmp_path / f"{k}" / "x.tar", k, k)
        assert len(WebDataset(tmp_path / f"{k}", cache=tmp_path / "cache")) == k
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_place_that_cannot_be_written_to_costs_only_the_cache(tmp_path):
    shard(tmp_path / "x.tar", 0, 2)
    (tmp_path / "file").write_text("in the way of a folder")
    assert len(WebDataset(tmp_path / "x.tar", cache=tmp_path / "file")) == 2


def test_many_shards_are_read_by_many_threads(tmp_path):
    for k in range(6):
        shard(tmp_path / f"{k}.tar", 10 * k, 3)
    source = pickle.loads(pickle.dumps(WebDataset(tmp_path)))
    order = np.random.default_rng(0).integers(0, 18, 300).tolist()
    with ThreadPoolExecutor(4) as pool:
        greys = list(pool.map(lambda index: source[index].image[0, 0, 0], order))
    assert greys == [10 * (index // 3) + index % 3 for index in order]


def test_a_tar_that_went_away_rejects_its_records(tmp_path):
    shard(tmp_path / "x.tar", 0, 2)
    source = WebDataset(tmp_path / "x.tar")
    (tmp_path / "x.tar").unlink()
    with pytest.raises(Rejected, match=r"unreadable file \(.*x.tar: No such file"):
        source[0]


def test_what_is_no_set_of_tars_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is no \.tar file, no folder"):
        WebDataset(tmp_path)
    with pytest.raises(InputError, match=r"is no \.tar file, no folder"):
        WebDataset(tmp_path / "*.tar")
    pack(tmp_path / "x.tar", {"a.txt": b"x"})
    with pytest.raises(InputError, match="holds no pictures"):
        WebDataset(tmp_path)
    pack(tmp_path / "x.tar", {"a.png": picture(1), "a.txt": b"x"}, "w:gz")
    with pytest.raises(InputError, match="uncompressed tar"):
        WebDataset(tmp_path)


def test_a_tar_that_was_cut_off_is_named(tmp_path):
    shard(tmp_path / "x.tar", 0, 30)
    data = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(data[: len(data) // 2 + 600])
    with pytest.raises(InputError, match=r"x\.tar' cannot be read"):
        WebDataset(tmp_path)
