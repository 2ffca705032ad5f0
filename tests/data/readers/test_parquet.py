"""Parquet files of img2dataset and of dataset hubs."""

import io
import pickle

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from glide_jax.data.example import Rejected
from glide_jax.data.readers import parquet
from glide_jax.data.readers.parquet import Parquet
from glide_jax.errors import InputError
from tests import fuzz


def picture(grey):
    buffer = io.BytesIO()
    Image.new("RGB", (10, 12), (grey,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, columns, rows_per_group=4):
    table = pyarrow.table(columns)
    pyarrow.parquet.write_table(table, path, row_group_size=rows_per_group)


def shard(path, first, count):
    numbers = range(first, first + count)
    captions = [f"number {k}" for k in numbers]
    write(path, {"key": captions, "jpg": [picture(k) for k in numbers], "caption": captions})


def test_rows_of_all_files_and_row_groups_are_found(tmp_path):
    shard(tmp_path / "0.parquet", 0, 9)
    shard(tmp_path / "1.parquet", 9, 5)
    source = Parquet(tmp_path)
    assert [int(e.image[0, 0, 0]) for e in source] == list(range(14))
    assert [e.captions[0] for e in source] == [f"number {k}" for k in range(14)]
    assert source[10].name == "1.parquet[1]"
    assert source[6].name == "0.parquet[6]"
    assert source[3].image.shape == (12, 10, 3)


def test_a_hubs_image_struct_and_lists_of_captions_are_read(tmp_path):
    images = [{"bytes": picture(k), "path": f"{k}.png"} for k in range(2)]
    write(
        tmp_path / "x.parquet",
        {"image": images, "text": ["a", "b"], "captions": [["one", "two"], []]},
    )
    assert [e.captions for e in Parquet(tmp_path / "x.parquet")] == [("a", "one", "two"), ("b",)]


def test_rows_without_a_picture_or_a_caption_are_rejected(tmp_path):
    write(
        tmp_path / "x.parquet",
        {"jpg": [None, b"", picture(1), b"broken"], "caption": ["a", "b", None, "d"]},
    )
    source, reasons = Parquet(tmp_path), []
    for index in range(4):
        with pytest.raises(Rejected, match=rf"x\.parquet\[{index}\]") as caught:
            source[index]
        reasons.append(caught.value.reason)
    assert reasons == ["missing image", "missing image", "no caption", "corrupt image"]


def test_row_groups_are_read_once_and_the_least_used_leave_first(tmp_path, monkeypatch):
    reads, read = [], parquet._read_group
    monkeypatch.setattr(
        parquet, "_read_group", lambda path, group, c: reads.append(group) or read(path, group, c)
    )
    shard(tmp_path / "x.parquet", 0, 12)
    source = Parquet(tmp_path)
    for index in (0, 5, 9, 1, 6, 10):
        source[index]
    assert reads == [0, 1, 2]
    reads.clear()
    size = source._cache._bytes() // 3
    small = Parquet(tmp_path, cache_bytes=int(2.5 * size))
    for index in (0, 4, 0, 8, 0, 4):
        assert small[index].captions == (f"number {index}",)
    assert reads == [0, 1, 2, 1]


def test_what_was_read_does_not_go_to_a_worker(tmp_path):
    shard(tmp_path / "x.parquet", 0, 12)
    source = Parquet(tmp_path)
    before = len(pickle.dumps(source))
    source[0]
    assert len(pickle.dumps(source)) == before
    assert pickle.loads(pickle.dumps(source))[5].captions == ("number 5",)


def test_a_file_that_went_away_rejects_its_rows(tmp_path):
    shard(tmp_path / "x.parquet", 0, 2)
    source = Parquet(tmp_path)
    (tmp_path / "x.parquet").unlink()
    with pytest.raises(Rejected, match="unreadable file"):
        source[0]


def test_what_is_no_set_of_pictures_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is no \.parquet file"):
        Parquet(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read as a Parquet file"):
        Parquet(tmp_path)
    write(tmp_path / "x.parquet", {"url": ["u"], "caption": ["c"]})
    with pytest.raises(InputError, match="has the columns url, caption; it must have one of pic"):
        Parquet(tmp_path)
    write(
        tmp_path / "x.parquet",
        {"jpg": pyarrow.array([], "binary"), "text": pyarrow.array([], "string")},
    )
    with pytest.raises(InputError, match="holds no rows"):
        Parquet(tmp_path)


@pytest.mark.slow
def test_a_gigabyte_of_text_is_refused_before_it_is_read(tmp_path):
    row = pyarrow.array(["y" * (300 << 20)], pyarrow.large_string())
    write(tmp_path / "x.parquet", {"jpg": [b"x"], "caption": row})
    before = fuzz.peak_bytes()
    with pytest.raises(InputError, match=r"row group with 3\d\d,\d+,\d+ bytes of captions"):
        Parquet(tmp_path)
    assert fuzz.peak_bytes() - before < 1 << 26


def test_too_much_text_or_picture_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_MOST_GROUP_TEXT", 1 << 16)
    write(tmp_path / "x.parquet", {"jpg": [picture(1)], "caption": ["y" * (1 << 17)]})
    with pytest.raises(InputError, match=r"131,\d+ bytes of captions, and 65,536 are the most"):
        Parquet(tmp_path)
    monkeypatch.setattr(parquet, "MOST_BYTES", 1 << 16)
    write(tmp_path / "x.parquet", {"jpg": [bytes(range(256)) * 512], "caption": ["y"]})
    with pytest.raises(InputError, match="pictures of over 65,536 bytes in row group 0"):
        Parquet(tmp_path)


@pytest.mark.parametrize("column", ["jpg", "caption"])
def test_a_small_file_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path, monkeypatch, column):
    monkeypatch.setattr(parquet, "_PART", 1 << 20)
    long = "x" * (1 << 16)  # written once, and named by each row
    columns = {"jpg": ["a"] * 4000, "caption": ["b"] * 4000} | {column: [long] * 4000}
    write(tmp_path / "x.parquet", columns, 4000)
    assert (tmp_path / "x.parquet").stat().st_size < 1 << 18
    before = fuzz.peak_bytes()
    with pytest.raises(Rejected, match=r"unpacks to over [12],\d+,\d+ bytes, and promises"):
        Parquet(tmp_path)[0]
    assert fuzz.peak_bytes() - before < 1 << 26


def test_one_text_of_megabytes_rejects_its_row_alone(tmp_path):
    texts = ["one", "y" * (2 << 20), "three"]
    write(tmp_path / "x.parquet", {"jpg": [picture(k) for k in range(3)], "caption": texts})
    source = Parquet(tmp_path)
    assert [source[k].captions for k in (0, 2)] == [("one",), ("three",)]
    for read in (source.captions_at, source.__getitem__):
        with pytest.raises(Rejected, match=r"too large \(x\.parquet\[1\]: 2,\d+,\d+ bytes of cap"):
            read(1)


def test_columns_in_capitals_are_the_same_columns(tmp_path):
    write(tmp_path / "x.parquet", {"jpg": [picture(1)], "TEXT": ["one"]})
    assert Parquet(tmp_path)[0].captions == ("one",)


def test_text_that_is_not_utf8_rejects_its_row(tmp_path):
    texts = pyarrow.array([b"caf\xe9", b"good"], pyarrow.binary()).view(pyarrow.string())
    write(tmp_path / "x.parquet", {"jpg": [picture(1), picture(2)], "text": texts})
    source = Parquet(tmp_path)
    assert source[1].captions == ("good",)
    with pytest.raises(Rejected, match=r"not UTF-8 \(x\.parquet\[0\], text: save it as UTF-8"):
        source[0]


def test_captions_as_bytes_are_text(tmp_path):
    write(tmp_path / "x.parquet", {"jpg": [picture(1)] * 2, "text": ["\u00fc".encode(), b"\xff"]})
    source = Parquet(tmp_path)
    assert source[0].captions == ("\u00fc",)
    with pytest.raises(Rejected, match=r"not UTF-8 \(x\.parquet\[1\], text: "):
        source[1]


def test_columns_of_other_types_are_named(tmp_path):
    write(tmp_path / "x.parquet", {"jpg": ["a.png"], "text": [["one"]]})
    with pytest.raises(Rejected, match=r"missing image \(x\.parquet\[0\]: jpg is string\)"):
        Parquet(tmp_path)[0]
    for cell, kind in ((7, "int64"), ({"raw": "x"}, "struct"), ([["x"]], "list")):
        write(tmp_path / "x.parquet", {"jpg": [picture(1)], "text": [cell]})
        with pytest.raises(Rejected, match=rf"no caption \(x\.parquet\[0\]: text is {kind}"):
            Parquet(tmp_path)[0]


def test_what_is_no_parquet_file_is_named(tmp_path):
    for content, words in ((b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
                           (b"<html>", "web page"), (b"", "empty file")):  # fmt: skip
        (tmp_path / "x.parquet").write_bytes(content)
        with pytest.raises(InputError, match=words):
            Parquet(tmp_path)


def test_other_files_of_the_folder_are_counted(tmp_path):
    shard(tmp_path / "x.parquet", 0, 2)
    (tmp_path / "x_stats.json").write_text("{}")
    assert Parquet(tmp_path).passed.counts == {".json files": 1}
