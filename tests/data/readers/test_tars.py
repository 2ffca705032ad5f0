"""Tars as they come: dotted stems, names twice, damage, hostile headers, what is passed over."""

import io
import os
import tarfile
import unicodedata

import numpy as np
import pytest
from PIL import Image

from glide_jax.data.example import Rejected
from glide_jax.data.readers.webdataset import WebDataset
from glide_jax.errors import InputError


def picture(grey=0):
    buffer = io.BytesIO()
    Image.new("RGB", (10, 12), (grey,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def member(name, size, **fields):
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def pack(path, files, form=tarfile.PAX_FORMAT):
    """A tar of (name, content), in which names may come twice."""
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in files:
            archive.addfile(member(name, len(data)), io.BytesIO(data))
    return path


def pair(stem, grey, caption):
    return [(f"{stem}.png", picture(grey)), (f"{stem}.txt", caption.encode())]


def greys(source):
    return {e.name.partition("/")[2]: (int(e.image[0, 0, 0]), e.captions) for e in source}


def test_dots_in_a_stem_make_an_example_if_the_text_has_them_too(tmp_path):
    files = [*pair("photo.v1", 1, "one"), *pair("photo.v2", 2, "two"), *pair("22.05", 3, "three"),
             *pair("a.b/c.d.e", 4, "four"), *pair("plain", 5, "five"),
             ("plain.seg.png", picture(9))]  # fmt: skip
    source = WebDataset(pack(tmp_path / "x.tar", files))
    assert greys(source) == {
        "photo.v1": (1, ("one",)), "photo.v2": (2, ("two",)), "22.05": (3, ("three",)),
        "a.b/c.d.e": (4, ("four",)), "plain": (5, ("five",)),
    }  # fmt: skip
    [line] = source.passed.lines()
    assert "more than one dot in their name" in line
    assert "'x.tar/plain.seg.png'" in line


def test_pictures_and_texts_that_do_not_meet_are_named(tmp_path):
    files = [("s0.input.jpg", picture()), ("s0.output.txt", b"x"), ("s0.prompt.txt", b"y")]
    with pytest.raises(InputError, match=r"holds no pictures.*s0\.output\.txt.*s0\.input\.jpg"):
        WebDataset(pack(tmp_path / "x.tar", files))


@pytest.mark.parametrize(
    "files",
    [
        [*pair("a", 1, "red"), ("a.png", picture(2))],
        [*pair("a", 1, "red"), *pair("b", 3, "b"), *pair("a", 2, "blue")],
        [*pair("a", 1, "red"), ("a.txt", b"blue")],
        [*pair("a", 1, "red"), ("./a.png", picture(2))],
        [*pair("a", 1, "red"), ("a.PNG", picture(2))],
        [("a.json", b'{"text": "x"}'), ("a.json", b'{"text": "y"}'), ("a.png", picture())],
    ],
)
def test_a_name_that_is_twice_in_a_tar_never_gets_anothers_caption(tmp_path, files):
    source = WebDataset(pack(tmp_path / "x.tar", files))
    for index in range(len(source)):
        if source._keys[index] != b"b":
            with pytest.raises(Rejected, match=r"name twice in a tar \(x\.tar/a: "):
                source[index]


def test_the_same_name_in_two_tars_is_two_examples(tmp_path):
    pack(tmp_path / "0.tar", pair("a", 1, "one"))
    pack(tmp_path / "1.tar", pair("a", 2, "two"))
    assert [(int(e.image[0, 0, 0]), e.captions[0]) for e in WebDataset(tmp_path)] == [
        (1, "one"), (2, "two")
    ]  # fmt: skip


def test_a_picture_beside_another_of_its_name_is_counted(tmp_path):
    files = [*pair("a", 1, "one"), ("a.webp", b"not looked at")]
    source = WebDataset(pack(tmp_path / "x.tar", files))
    assert greys(source) == {"a": (1, ("one",))}
    assert source.passed.counts == {"pictures beside another of their name": 1}


def test_accents_match_in_a_tar_too(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    source = WebDataset(
        pack(tmp_path / "x.tar", [(f"{nfd}.png", picture(3)), (f"{nfc}.txt", b"x")])
    )
    assert greys(source) == {nfc: (3, ("x",))}


def test_separators_are_text_and_an_empty_text_hides_no_json(tmp_path):
    files = [
        ("a.png", picture(1)), ("a.txt", "one\u2028two\x85three\x1cfour\r\nfive".encode()),
        ("b.png", picture(2)), ("b.txt", b" \n"), ("b.json", b'{"Caption": "from json"}'),
        ("c.png", picture(3)), ("c.json", b'{"prompt": "x", "width": 3}'),
        ("d.png", picture(4)), ("d.txt", "a cat".encode("utf-16")),
        ("e.png", picture(4)), ("e.json", b'{"a":' * 50_000),
    ]  # fmt: skip
    source = WebDataset(pack(tmp_path / "x.tar", files))
    assert source.captions_at(0) == ("one\u2028two\x85three\x1cfour", "five")
    assert source.captions_at(1) == ("from json",)
    for index, words in (
        (2, r"no caption \(x\.tar/c: its \.json has the fields 'prompt', 'width'"),
        (3, r"not UTF-8 \(x\.tar/d: it begins as UTF-16"),
        (4, r"no caption \(x\.tar/e: .* nested too deeply"),
    ):
        with pytest.raises(Rejected, match=words):
            source.captions_at(index)


def test_what_is_not_used_of_a_tar_is_counted_also_from_the_kept_index(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        files = [*pair("a", 1, "one"), ("b.heic", b"x"), ("in/c.heic", b"x"), ("._a.png", b"x"),
                 ("alone.txt", b"x"), ("a.cls", b"7"), ("README", b"x")]  # fmt: skip
        for name, data in files:
            archive.addfile(member(name, len(data)), io.BytesIO(data))
        archive.addfile(member("d.png", 0, type=tarfile.LNKTYPE, linkname="a.png"))
        archive.addfile(member("pipe.png", 0, type=tarfile.FIFOTYPE))
        archive.addfile(member("folder", 0, type=tarfile.DIRTYPE))
    for _ in range(2):
        assert WebDataset(path).passed.counts == {
            "members .heic": 2, "members .cls": 1, "members without a suffix": 1,
            "hidden members": 1, "texts without a picture of their name": 1,
            "members that are links, devices or have holes": 2,
        }  # fmt: skip
        assert WebDataset(path).passed.first["members .heic"] == "x.tar/b.heic"


def test_a_tar_that_ends_between_members_is_read_and_that_is_said(tmp_path):
    data = pack(tmp_path / "x.tar", [*pair("a", 1, "one"), *pair("b", 2, "two")]).read_bytes()
    with tarfile.open(tmp_path / "x.tar") as archive:
        third = archive.getmembers()[2].offset
    (tmp_path / "x.tar").write_bytes(data[:third])
    source = WebDataset(tmp_path / "x.tar")
    assert greys(source) == {"a": (1, ("one",))}
    [line] = source.passed.lines()
    assert "without a mark of their end, so perhaps cut off" in line
    assert f"at byte {third}" in line


@pytest.mark.parametrize(
    ("at", "damage"), [(0, b"\xff" * 512), (0, b"\xff"), (148, b"000000"), (124, b"77777777777")]
)
def test_a_damaged_header_within_a_tar_is_said_with_how_much_was_read(tmp_path, at, damage):
    path = pack(tmp_path / "x.tar", [*pair("a", 1, "one"), *pair("b", 2, "two")])
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2].offset
    data = bytearray(path.read_bytes())
    data[third + at : third + at + len(damage)] = damage
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"after [23] members in [\d,]+ of {len(data):,} bytes"):
        WebDataset(path)


def test_tars_that_were_joined_are_read_to_the_first_end_and_that_is_said(tmp_path):
    one, two = (pack(tmp_path / f"{k}.tar", pair(f"{k}", k, "x")).read_bytes() for k in (1, 2))
    (tmp_path / "x.tar").write_bytes(one + two)
    [line] = WebDataset(tmp_path / "x.tar").passed.lines()
    assert "more behind the mark of their end" in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"", "empty file"),
        (b"\x1f\x8b\x08" + bytes(600), "archive, it must be unpacked"),
    ],
)
def test_what_is_no_tar_is_named(tmp_path, content, words):
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(InputError, match=words):
        WebDataset(tmp_path / "x.tar")


def header(name, size, kind=b"0"):
    info = member(name, 0, type=kind)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "size", [b"\x80" + b"\xff" * 11, b"\xff" * 12, b"77777777777\0", b"\x80" + b"\x7f" * 11]
)
@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"S", b"K"])
def test_absurd_sizes_in_a_header_are_refused_at_once(tmp_path, size, kind):
    (tmp_path / "x.tar").write_bytes(header("a.png", size, kind) + bytes(2048))
    with pytest.raises(InputError, match=r"x\.tar' cannot be read|holds no pictures"):
        WebDataset(tmp_path / "x.tar")


def test_long_names_upon_long_names_overflow_no_stack(tmp_path):
    (tmp_path / "x.tar").write_bytes(header("a", b"%011o\0" % 0, b"L") * 5000 + bytes(1024))
    with pytest.raises(InputError, match=r"cannot be read|holds no pictures"):
        WebDataset(tmp_path / "x.tar")


def test_a_name_of_megabytes_takes_the_room_of_no_other(tmp_path):
    files = [*pair("a", 1, "one"), ("n" * 3_000_000 + ".png", picture())]
    source = WebDataset(pack(tmp_path / "x.tar", files))
    assert len(source) == 1
    assert source.passed.counts == {"members of over 1,024 letters": 1}
    assert os.path.getsize(tmp_path / "x.tar.index.npz") < 10_000


def test_an_index_that_came_with_a_tar_is_not_trusted(tmp_path):
    path = pack(tmp_path / "x.tar", pair("a", 1, "one"))
    assert len(WebDataset(path)) == 1
    file = tmp_path / "x.tar.index.npz"
    with np.load(file) as kept:
        good = dict(kept)
    for change in (
        {"places": good["places"] * 10**6}, {"places": -good["places"]},
        {"places": good["places"][:, :5]}, {"places": good["places"].astype(float)},
        {"keys": np.array([b"a", b"b"])}, {"keys": np.array(["a"])},
        {"passed": np.array([["x", "many", "y"]])}, {"passed": np.array("x")},
    ):  # fmt: skip
        np.savez(file, **{**good, **change})
        assert greys(WebDataset(path)) == {"a": (1, ("one",))}
    file.unlink()
    os.mkfifo(file)
    assert greys(WebDataset(path)) == {"a": (1, ("one",))}
    np.savez_compressed(file, **{**good, "more": np.zeros(1 << 20)})
    assert greys(WebDataset(path)) == {"a": (1, ("one",))}


def test_a_member_too_large_for_a_picture_or_a_text_is_not_read(tmp_path, monkeypatch):
    path = pack(
        tmp_path / "x.tar",
        [*pair("a", 1, "one"), ("b.png", picture()), ("b.txt", b"x" * (2 << 20))],
    )
    source = WebDataset(path)
    with pytest.raises(Rejected, match=r"too large \(x\.tar/b: 2,097,152 bytes"):
        source[1]
