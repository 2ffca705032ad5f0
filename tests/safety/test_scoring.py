"""One row for each record, which the record alone decides."""

import io

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from glide_jax.data.readers.parquet import Parquet
from glide_jax.errors import InputError
from glide_jax.evaluation.features import known
from glide_jax.safety import classifiers, prompt_filter, scoring
from tests.data.fakes import Noise, Numbered, scenes

PLAIN = scoring.Columns()


def of(pictures):
    marks = np.frombuffer(b"".join(map(scoring._mark, pictures)), np.uint8)
    return scoring.hashes(marks.reshape(-1, 8, 9))


def apart(a, b):
    return np.bitwise_count(a ^ b)


def test_each_record_has_a_row_also_one_that_cannot_be_used():
    rows = scoring.score(Numbered(5, bad={3}, captions=2), range(1, 5), PLAIN).to_pylist()
    assert [row["index"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["name"] == "1.png"
    assert rows[0]["captions"] == ["1 said 0", "1 said 1"]
    assert (rows[0]["width"], rows[0]["height"], rows[0]["words"]) == (16, 16, 3)
    assert rows[0]["rejected"] is None
    assert rows[2]["rejected"] == "corrupt image (3.png)"
    assert rows[2]["hash"] is rows[2]["width"] is rows[2]["name"] is None


def test_the_captions_of_a_record_without_a_picture_are_checked_all_the_same(tmp_path):
    table = {"image": pyarrow.array([None], pyarrow.binary()), "caption": ["a nude man"]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "x.parquet")
    [row] = scoring.score(Parquet(tmp_path), range(1), PLAIN).to_pylist()
    assert row["rejected"].startswith("missing image")
    assert row["captions"] == ["a nude man"]
    assert row["caption_sexual"] == 1.0


class Letters:
    """An encoder of captions whose vectors are the numbers of their letters."""

    def __call__(self, texts):
        return np.array([[len(text), text.count("a")] for text in texts], np.float32)


def test_a_shard_without_a_usable_record_has_the_same_columns(monkeypatch):
    arrays = {"support": np.zeros((1, 192)), "dual": np.ones(1), "mean": np.zeros(192),
              "scale": np.ones(192)}  # fmt: skip
    one = classifiers.Classifier("x", "features", "", arrays, 0.1, -0.5, {})
    monkeypatch.setattr(scoring, "_sentences", lambda data_dir: Letters())
    columns = scoring.Columns("pixels", caption_features=True, classifiers=(one,))
    source = Numbered(4, bad={2, 3}, captions=2)
    good, bad = (scoring.score(source, shard, columns) for shard in (range(2), range(2, 4)))
    assert good.schema == bad.schema
    assert good["caption_features"].to_pylist() == [[8.0, 1.0]] * 2  # "0 said 0", "0 said 1"
    _, features = scoring.vectors_of(good, "features")
    assert np.allclose(good["score_x"], np.exp(-0.1 * (features**2).sum(1)) - 0.5)
    for name in ("features", "caption_features", "score_x", "hash"):
        assert bad[name].null_count == 2


def test_a_row_has_the_worst_of_its_captions():
    class Two(Numbered):
        def __getitem__(self, index):
            return super().__getitem__(index)._replace(captions=("a cat", "a gun", "a swastika"))

    [row] = scoring.score(Two(1), range(1), PLAIN).to_pylist()
    judged = [prompt_filter.judge(text).scores for text in ("a cat", "a gun", "a swastika")]
    for name in prompt_filter.CATEGORIES:
        assert row[f"caption_{name}"] == max(scores[name] for scores in judged)
    assert row["caption_hate"] == 1.0
    assert 0.0 < row["caption_violence"] < 1.0


def test_a_row_does_not_depend_on_its_shard():
    source, columns = Noise(9, bad={4}, side=40), scoring.Columns("pixels")
    whole = scoring.score(source, range(9), columns)
    parts = [
        scoring.score(source, shard, columns) for shard in (range(4), range(4, 5), range(5, 9))
    ]
    assert pyarrow.concat_tables(parts).equals(whole)
    rows, features = scoring.vectors_of(whole, "features")
    assert rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert features.shape == (8, 192)
    square = np.asarray(Image.fromarray(source[2].image).crop((2, 0, 43, 40)).resize((8, 8)))
    assert np.abs(features[2].reshape(8, 8, 3) - square / 255).max() < 0.2


def test_the_networks_are_those_that_come_in_packages():
    assert set(scoring.FEATURES) - {"none", "pixels"} == set(known.PACKAGED)
    with pytest.raises(InputError, match="features is 'inception'; it must be"):
        scoring.Columns("inception")


def test_near_pictures_have_near_hashes_and_others_have_not():
    pictures, _ = scenes(40, 128)
    first = of(pictures)
    smaller = of([np.asarray(Image.fromarray(p).resize((64, 64))) for p in pictures])
    lossy = []
    for picture in pictures:
        Image.fromarray(picture).save(buffer := io.BytesIO(), "JPEG", quality=75)
        lossy.append(np.asarray(Image.open(buffer)))
    assert np.median(apart(first, smaller)) <= 3
    assert np.median(apart(first, of(lossy))) <= 3
    assert np.median(apart(first[:-1], first[1:])) > 8


def test_each_slope_is_a_bit_and_each_part_of_sixteen_covers_the_picture():
    marks = np.zeros((8, 8, 8, 9), np.uint8)
    for y, x in np.ndindex(8, 8):
        marks[y, x, y, x] = 1  # falls to the right of itself alone
    hashes = scoring.hashes(marks.reshape(64, 8, 9))
    bits = np.array([int(one).bit_length() - 1 for one in hashes]).reshape(8, 8)
    assert sorted(bits.ravel()) == list(range(64))
    assert (np.bitwise_count(hashes) == 1).all()
    for dy, dx in np.ndindex(2, 2):
        assert len(set((bits[dy::2, dx::2] // 16).ravel())) == 1
