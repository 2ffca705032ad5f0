"""Tables and texts of captions from other systems: paths, encodings, fields, CSV, and nonsense."""

import json
import unicodedata

import pytest
from PIL import Image

from glide_jax.data.example import Rejected
from glide_jax.data.readers.folder import Folder
from glide_jax.errors import InputError


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name, "PNG")


def table(folder, *rows, name="captions.jsonl"):
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")


def captions(folder):
    source = Folder(folder)
    return {source._names[k]: source.captions_at(k) for k in range(len(source))}


def one(name, text="right"):
    return {"file_name": name, "text": text}


def test_names_with_backslashes_are_those_of_windows(tmp_path):
    put(tmp_path, "images/a.png", "b.png")
    table(tmp_path, one("images\\a.png"), one(".\\b.png"))
    assert captions(tmp_path) == {"images/a.png": ("right",), "b.png": ("right",)}


def test_a_backslash_that_is_in_a_name_is_left_there(tmp_path):
    put(tmp_path, "a\\b.png")
    table(tmp_path, one("a\\b.png"))
    assert captions(tmp_path) == {"a\\b.png": ("right",)}


def test_absolute_names_in_the_folder_are_those_files(tmp_path):
    put(tmp_path, "real/in/a.png", "real/b.png", "real/c.png")
    (tmp_path / "link").symlink_to("real")
    table(
        tmp_path / "real",
        one(str(tmp_path / "real/in/a.png")),
        one(str(tmp_path / "link/b.png")),
        one(f"{tmp_path}/real/in/../c.png"),
    )
    wanted = {"in/a.png": ("right",), "b.png": ("right",), "c.png": ("right",)}
    assert captions(tmp_path / "real") == captions(tmp_path / "link") == wanted


@pytest.mark.parametrize(
    "name",
    ["/etc/a.png", "../a.png", "..\\a.png", "C:\\data\\a.png", "c:/a.png", "a\0.png", ".."],
)
def test_names_outside_are_refused_with_the_line(tmp_path, name):
    put(tmp_path, "data/a.png")
    table(tmp_path / "data", one("a.png"), one(name))
    with pytest.raises(InputError, match=r"line 2 of .* which lies outside of"):
        Folder(tmp_path / "data")


@pytest.mark.parametrize(("there", "written"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_match_whichever_system_wrote_them(tmp_path, there, written):
    name = lambda form, text: unicodedata.normalize(form, text)
    put(tmp_path, name(there, "caf\u00e9/\u00fcber.png"), name(there, "\uac00.png"))
    table(tmp_path, one(name(written, "caf\u00e9/\u00fcber.png")))
    (tmp_path / name(written, "\uac00.txt")).write_text("beside")
    assert captions(tmp_path) == {
        name(there, "caf\u00e9/\u00fcber.png"): ("right",),
        name(there, "\uac00.png"): ("beside",),
    }


def test_two_files_that_differ_only_in_their_form_stay_two(tmp_path):
    put(tmp_path, "\u00e9.png", "e\u0301.png")
    table(tmp_path, one("\u00e9.png", "composed"), one("e\u0301.png", "apart"))
    assert captions(tmp_path) == {"\u00e9.png": ("composed",), "e\u0301.png": ("apart",)}


SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"


@pytest.mark.parametrize("separator", SEPARATORS)
def test_separators_that_are_no_line_ends_are_text(tmp_path, separator):
    put(tmp_path, "a.png", "b.png", "c.png")
    caption = f"one{separator}two"
    line = json.dumps(one("a.png", caption), ensure_ascii=False)
    (tmp_path / "captions.jsonl").write_text(f"{line}\n", "utf-8")
    (tmp_path / "b.txt").write_text(f"{caption}\r\nthree\rfour\n", "utf-8")
    (tmp_path / "metadata.csv").write_text(f'image,text\nc.png,"{caption}"\n', "utf-8")
    assert captions(tmp_path) == {
        "a.png": (caption,), "b.png": (caption, "three", "four"), "c.png": (caption,)
    }  # fmt: skip


def test_csv_is_read_as_json_lines_are(tmp_path):
    put(tmp_path, "a.png", "in/b.png", "c.png")
    (tmp_path / "metadata.csv").write_bytes(
        b'\xef\xbb\xbffile_name,width,text\r\na.png,8,"one, and ""two"""\r\nc.png,8,\r\n'
    )
    (tmp_path / "in/captions.csv").write_text("image,caption\nb.png,below\n")
    (tmp_path / "c.txt").write_text("beside")
    assert captions(tmp_path) == {
        "a.png": ('one, and "two"',), "in/b.png": ("below",), "c.png": ("beside",)
    }  # fmt: skip


def test_a_table_without_captions_hides_none_of_another(tmp_path):
    put(tmp_path, "a.png", "b.png")
    table(tmp_path, one("a.png"), name="captions.jsonl")
    rows = ({"file_name": "a.png", "width": 8}, {"file_name": "b.png", "text": "b"})
    table(tmp_path, *rows, name="metadata.jsonl")
    assert captions(tmp_path) == {"a.png": ("right",), "b.png": ("b",)}


@pytest.mark.parametrize("field", ["TEXT", "Caption", "captions"])
def test_fields_in_capitals_are_the_same_fields(tmp_path, field):
    put(tmp_path, "a.png")
    table(tmp_path, {"File_Name": "a.png", field: "right"})
    assert captions(tmp_path) == {"a.png": ("right",)}


@pytest.mark.parametrize("field", ["prompt", "caption_text", "description"])
def test_other_fields_are_named_with_those_that_would_be_right(tmp_path, field):
    put(tmp_path, "a.png", "b.png")
    table(tmp_path, {"file_name": "a.png", field: "x"}, name="metadata.jsonl")
    words = rf"metadata.jsonl has the fields 'file_name', '{field}', .* 'text', 'caption'"
    with pytest.raises(InputError, match=words):
        Folder(tmp_path)
    (tmp_path / "b.txt").write_text("b")  # one caption is enough to begin
    with pytest.raises(Rejected, match=rf"no caption \(a.png: {words}"):
        Folder(tmp_path)[0]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("captions.jsonl", b'{"path": "a.png", "text": "x"}', "line 1 .* names no file.*'path'"),
        ("captions.jsonl", b"[" * 100_000, "line 1 .* nested too deeply"),
        ("captions.jsonl", b'{"a":' * 100_000, "line 1 .* nested too deeply"),
        ("captions.jsonl", b'{"file_name": 1' + b"0" * 9999 + b"}", "line 1 .* not a JSON object"),
        ("captions.jsonl", b'{\n"file_name": "a.png"\n}', "line 1 .* not a JSON object"),
        ("captions.jsonl", '{"file_name": "a.png"}'.encode("utf-16"), "UTF-16.*save it as UTF-8"),
        ("captions.jsonl", b'{"image": "a.png", "text": "\xe9"}', "Latin-1.*save it as UTF-8"),
        ("metadata.csv", "file_name,text\na.png,x\n".encode("utf-16"), "UTF-16"),
        ("metadata.csv", b"file_name;text\na.png;x\n", "names no file.*'file_name;text'"),
        ("metadata.csv", b"file_name,text\na.png,one, two\n", "line 2 .* more columns"),
        ("metadata.csv", b'file_name,text\na.png,"' + b"x" * 200_000, "line 2 .* not CSV"),
        ("captions.jsonl", b'{"file_name": "a.png"} {"file_name": "b.png"}', "Extra data"),
    ],
)
def test_a_table_that_cannot_be_meant_is_one_sentence(tmp_path, name, content, words):
    put(tmp_path, "a.png")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        Folder(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("name", ["captions.jsonl", "metadata.csv"])
def test_a_line_without_an_end_takes_no_memory(tmp_path, name):
    put(tmp_path, "a.png")
    with open(tmp_path / name, "wb") as file:
        file.truncate(1 << 36)  # 64 GB of zeros that take no room
    with pytest.raises(InputError, match=r"line 1 .* over 16,777,216 characters"):
        Folder(tmp_path)


@pytest.mark.parametrize(
    "name", ["a.TXT", "a.Txt", "a.png.txt", "a.png.TXT", "a.caption", "a.png.caption"]
)
def test_text_files_of_other_habits_are_read(tmp_path, name):
    put(tmp_path, "a.png")
    (tmp_path / name).write_text("right\nand more")
    assert captions(tmp_path) == {"a.png": ("right", "and more")}
    (tmp_path / "a.txt").write_text("first of all")
    assert captions(tmp_path) == {"a.png": ("first of all",)}


def test_a_picture_in_capitals_has_its_text(tmp_path):
    put(tmp_path, "DSC1.PNG", "a.JPG")
    (tmp_path / "DSC1.TXT").write_text("one")
    (tmp_path / "a.txt").write_text("two")
    assert captions(tmp_path) == {"DSC1.PNG": ("one",), "a.JPG": ("two",)}


@pytest.mark.parametrize("empty", ["", " \n\t\n", "\ufeff\n"])
def test_an_empty_text_hides_no_caption_elsewhere(tmp_path, empty):
    put(tmp_path, "a.png", "b.png", "c.png")
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(empty, "utf-8")
    (tmp_path / "b.caption").write_text("from b.caption")
    table(tmp_path, one("a.png", "from the table"))
    source = Folder(tmp_path)
    assert source.captions_at(0) == ("from the table",)
    assert source.captions_at(1) == ("from b.caption",)
    with pytest.raises(Rejected, match=r"no caption \(c.png\)"):
        source.captions_at(2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a cat".encode("utf-16"), "begins as UTF-16"),
        ("a cat".encode("utf-16-be"), "NUL bytes, as UTF-16"),
        ("a cat".encode("utf-16-le"), "NUL bytes, as UTF-16"),
        ("caf\u00e9".encode("latin-1"), "Latin-1"),
        ("\u732b".encode("shift-jis"), "another encoding"),
    ],
)
def test_another_encoding_is_a_reason_of_its_own(tmp_path, content, words):
    put(tmp_path, "a.png")
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(Rejected, match=words) as caught:
        Folder(tmp_path)[0]
    assert caught.value.reason == "not UTF-8"
    assert "a.txt" in caught.value.detail


def test_a_text_of_megabytes_and_a_pipe_in_its_place_are_not_read(tmp_path):
    put(tmp_path, "a.png")
    with open(tmp_path / "a.txt", "wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(Rejected, match=r"a\.txt: 17,179,869,184 bytes") as caught:
        Folder(tmp_path)[0]
    assert caught.value.reason == "too large"


@pytest.mark.parametrize("name", ["results.csv", "meta_cap.json", "a.json"])
def test_caption_files_that_are_not_read_are_named(tmp_path, name):
    put(tmp_path, "a.png")
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=rf"has a caption: .*such as '{name}'"):
        Folder(tmp_path)


def test_captions_that_stand_behind_others_are_counted(tmp_path):
    put(tmp_path, "a.png", "b.png")
    for name in ("a.txt", "a.caption", "b.txt"):
        (tmp_path / name).write_text(name)
    table(tmp_path, one("b.png"))
    source = Folder(tmp_path)
    assert (source.captions_at(0), source.captions_at(1)) == (("a.txt",), ("b.txt",))
    assert source.passed.counts == {
        "text files behind another of their picture": 1,
        "rows of tables behind a text file of their picture": 1,
    }
