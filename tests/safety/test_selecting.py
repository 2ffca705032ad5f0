"""Queries select, twins go by pixels and by features, and the new set is one to train on."""

import json

import numpy as np
import pyarrow
import pytest
from PIL import Image

from glide_jax.data import catalogue
from glide_jax.errors import InputError
from glide_jax.safety import score_table, scoring, selecting
from tests.data.fakes import scenes

pytest.importorskip("duckdb", reason="pip install 'glide-jax[filter]'")

TABLE = pyarrow.table(
    {
        "index": [0, 1, 2, 3],
        "rejected": [None, None, "corrupt image", None],
        "width": [10, 20, 30, None],
        "captions": [["a cat"], ["a dog", "a hound"], ["a cat"], []],
    }
)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("true", [0, 1, 3]),
        ("width > 15", [1]),
        ("width > 5 -- and a comment", [0, 1]),
        ("len(captions) = 1 OR width IS NULL", [0, 3]),
        ("array_to_string(captions, ' ') LIKE '%cat%'", [0]),
        ("false", []),
    ],
)
def test_a_query_selects_usable_records_in_order(query, found):
    assert selecting.matching(TABLE, query).tolist() == found


@pytest.mark.parametrize(
    "query",
    ["", "height > 3", "width >", "1=1) --", "width > 'x'", "1=1; DROP TABLE pictures",
     "(SELECT content FROM read_text('/etc/passwd')) = ''", "\x1b[31m"],
)  # fmt: skip
def test_what_is_no_condition_is_refused_in_a_sentence(query):
    wanted = (
        r"^query .*cannot be used \(.*\); it must be a condition in SQL over the columns "
        r"index, rejected, width, captions\.$"
    )
    with pytest.raises(InputError, match=wanted) as caught:
        selecting.matching(TABLE, query)
    assert "\x1b" not in str(caught.value)


@pytest.fixture
def table(tmp_path):
    """Scenes; 20 is 3 again, 21 is 4 but for a pixel, 22 is 5 a little lighter, 23 is broken."""
    (tmp_path / "set").mkdir()
    pictures, captions = scenes(20, 64)
    pictures = [*pictures, *(pictures[k].copy() for k in (3, 4, 5))]
    pictures[21][0, 0] ^= 1
    pictures[22] = np.minimum(pictures[22].astype(int) + 3, 255).astype(np.uint8)
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"set/{k:02}.png")
        (tmp_path / f"set/{k:02}.txt").write_text(captions[k % 20])
    (tmp_path / "set/23.png").write_bytes(b"no picture")
    (tmp_path / "set/23.txt").write_text("lost")
    job = score_table.prepare(
        str(tmp_path / "set"), scoring.Columns("pixels"), tmp_path / "t", rows=7
    )
    score_table.write_all(job, 0)
    return score_table.opened(tmp_path / "t")


def test_exact_twins_are_told_by_their_pixels_and_near_ones_by_their_features(table):
    rows, source = table.read(), table.source()
    hashes = rows["hash"].to_pylist()
    assert hashes[21] == hashes[4]
    usable = selecting.matching(rows, "true")
    assert usable.tolist() == list(range(23))
    assert selecting.twins(rows, usable, source) == [(20, 3, "exact")]
    near = [(20, 3, "exact"), (21, 4, "near"), (22, 5, "near")]
    found = selecting.twins(rows, usable, source, table)
    assert [twin for twin in found if twin.index >= 20] == near
    _, features = scoring.vectors_of(table.vectors("features"), "features")
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    for twin in found:
        assert np.bitwise_count(np.uint64(hashes[twin.index]) ^ np.uint64(hashes[twin.of])) <= 3
        assert features[twin.index] @ features[twin.of] >= selecting.NEAREST
    assert len(found) < 10
    without = selecting.twins(rows, usable[usable != 3], source, table)
    assert 20 not in {twin.index for twin in without}  # its twin is not selected


def test_the_new_set_has_the_same_pixels_and_a_config_can_read_it(table, tmp_path):
    source, out = table.source(), tmp_path / "new"
    selecting.write_set(source, [2, 5, 21], out, {"kept": 3})
    again = catalogue.open_source("parquet", path=out)
    assert len(again) == 3
    for k, index in enumerate((2, 5, 21)):
        assert (again[k].image == source[index].image).all()
        assert again[k].captions == source[index].captions
    assert json.loads((out / "filter.json").read_text()) == {"kept": 3}
    with pytest.raises(FileExistsError, match="is not an empty directory"):
        selecting.write_set(source, [2], out, {})
    assert len(catalogue.open_source("parquet", path=out)) == 3


def test_a_set_of_many_files_keeps_its_order(table, tmp_path, monkeypatch):
    monkeypatch.setattr(selecting, "_FILE", 4)
    selecting.write_set(table.source(), range(10), tmp_path / "new", {})
    assert len(list((tmp_path / "new").glob("*.parquet"))) == 3
    again = catalogue.open_source("parquet", path=tmp_path / "new")
    assert all((again[k].image == table.source()[k].image).all() for k in range(10))


def test_nothing_is_written_if_nothing_is_selected_or_a_picture_is_gone(table, tmp_path):
    with pytest.raises(InputError, match="no record is selected"):
        selecting.write_set(table.source(), [], tmp_path / "new", {})
    with pytest.raises(InputError, match="record 23 was usable when it was scored, and is not"):
        selecting.write_set(table.source(), [1, 23], tmp_path / "new", {})
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]
