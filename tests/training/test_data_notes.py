"""The start of training: what is not used of the data, what is cut, and what has changed."""

import shutil
import types

import pytest
from PIL import Image

from glide_jax.data.readers.folder import Folder
from glide_jax.errors import InputError
from glide_jax.tokenizers import ClipBPE, GlideBPE
from glide_jax.training import data_notes
from glide_jax.training.sections import Data


def put(folder, name, caption="a caption", grey=0):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (grey,) * 3).save(path, "PNG")
    path.with_suffix(".txt").write_text(caption)


def run(folder, context=16, tokenizer=None, **data):
    config = types.SimpleNamespace(
        model=types.SimpleNamespace(text_context=context), data=Data(**data)
    )
    return types.SimpleNamespace(
        source=Folder(folder), tokenizer=tokenizer or GlideBPE(), config=config, teacher=None
    )


@pytest.fixture
def began(tmp_path):
    """A workdir whose run has a checkpoint, and its data."""
    for k in range(5):
        put(tmp_path / "data", f"{k}.png", f"number {k}")
    (tmp_path / "run/checkpoints/3").mkdir(parents=True)
    data_notes.keep(data_notes.facts(run(tmp_path / "data")), tmp_path / "run")
    return tmp_path


def check(home, **data):
    now = run(home / "data", **data)
    return data_notes.check(now, data_notes.facts(now), home / "run")


def test_data_that_is_the_same_is_no_news_also_elsewhere(began):
    assert check(began) == []
    shutil.copytree(began / "data", began / "copy")
    copy = run(began / "copy")
    assert data_notes.check(copy, data_notes.facts(copy), began / "run") == []


def another(home):
    put(home / "data", "new.png")


def gone(home):
    (home / "data/4.png").unlink()


def renamed(home):
    for suffix in ("png", "txt"):
        (home / f"data/4.{suffix}").rename(home / f"data/5.{suffix}")


def reworded(home):
    (home / "data/4.txt").write_text("number 5")


def redrawn(home):
    put(home / "data", "4.png", "number 4", grey=9)


@pytest.mark.parametrize("change", [another, gone, renamed, reworded, redrawn])
def test_data_that_has_changed_stops_a_run_unless_a_field_allows_it(began, change):
    change(began)
    count = {another: 6, gone: 4}.get(change, 5)
    words = rf"had 5 examples \(hash '\w{{16}}'\) and has {count} \(hash '\w{{16}}'\); put it back"
    with pytest.raises(InputError, match=words + r".*--config\.data\.changed=allow"):
        check(began)
    [line] = check(began, changed="allow")
    assert line.startswith("note: the data has changed since the run in")


def test_a_picture_that_is_replaced_far_from_those_looked_at_is_noticed(tmp_path):
    for k in range(100):
        put(tmp_path, f"{k:03}.png")
    before = data_notes.facts(run(tmp_path))
    Image.new("RGB", (9, 8)).resize((40, 40)).save(tmp_path / "001.png")
    after = data_notes.facts(run(tmp_path))
    assert before["examples"] == after["examples"]
    assert before["hash"] != after["hash"]


def test_a_run_without_a_checkpoint_or_of_an_older_version_begins_anew(began):
    another(began)
    (began / "run" / data_notes.FILE).rename(began / "kept.json")
    assert check(began) == []
    (began / "kept.json").rename(began / "run" / data_notes.FILE)
    (began / "run/checkpoints/3").rmdir()
    assert check(began) == []


@pytest.mark.parametrize("content", ["{", "[]", "{}", "[" * 99_999, '{"examples": 5}'])
def test_what_is_known_of_the_data_may_be_damaged(began, content):
    (began / "run" / data_notes.FILE).write_text(content)
    with pytest.raises(InputError, match=r"data\.json|has changed"):
        check(began)


def test_what_is_passed_over_and_what_is_cut_are_said(tmp_path):
    put(tmp_path, "a.png", "short\n" + "long " * 40)
    put(tmp_path, "b.png", "word " * 16)
    (tmp_path / "c.heic").write_bytes(b"x")
    assert data_notes.lines(run(tmp_path)) == [
        "data: passed over: .heic files (1, such as 'c.heic')",
        "data: 1 of 3 captions looked at are longer than the 16 tokens of text_context; their ends "
        "are not seen",
    ]
    assert len(data_notes.lines(run(tmp_path, 64))) == 1
    # CLIP marks both ends of a row, so 16 words do not fit into 16 tokens.
    assert "2 of 3 captions" in data_notes.lines(run(tmp_path, tokenizer=ClipBPE()))[1]


def test_a_caption_of_megabytes_is_counted_in_no_time(tmp_path):
    put(tmp_path, "a.png", "long " * 200_000)
    assert "1 of 1 captions" in data_notes.lines(run(tmp_path))[0]
