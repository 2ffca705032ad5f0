"""Sets of TFDS that others wrote: what they are is said, and how to convert them."""

import json
import os
import shutil

import pytest

from glide_jax.data import catalogue
from glide_jax.data.example import Rejected
from glide_jax.data.readers.built import Built, split_lengths
from glide_jax.data.recipes import builders
from glide_jax.errors import InputError


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return builders.build("shapes_64", tmp_path_factory.mktemp("data"), size=4)


@pytest.fixture
def folder(good, tmp_path):
    return shutil.copytree(good, tmp_path / "set")


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def refusal(folder):
    with pytest.raises(InputError) as caught:
        Built(folder, "train")
    text = str(caught.value)
    assert "delete" not in text
    assert "remove" not in text
    return text


@pytest.mark.parametrize("form", ["tfrecord", "riegeli", None])
def test_files_that_only_tensorflow_reads_are_named_with_the_way_to_convert_them(folder, form):
    for path in folder.glob("*.array_record*"):
        path.rename(path.with_name(path.name.replace("array_record", "tfrecord")))
    info = json.loads((folder / "dataset_info.json").read_text())
    info.pop("fileFormat") if form is None else info.update(fileFormat=form)
    (folder / "dataset_info.json").write_text(json.dumps(info))
    text = refusal(folder)
    assert f"TFDS set of '{form or 'tfrecord'}' files" in text
    assert f"tfds convert_format --dataset_version_dir={folder} --out_file_format=array" in text


@pytest.mark.parametrize("there", [["image", "label"], ["image", "text"], ["image/encoded"], []])
def test_other_features_are_named_with_those_that_are_needed(folder, there):
    features = json.loads((folder / "features.json").read_text())
    known = features["featuresDict"]["features"]
    features["featuresDict"]["features"] = {name: known["name"] for name in there}
    (folder / "features.json").write_text(json.dumps(features))
    text = refusal(folder)
    assert f"features {there}" in text
    assert "image, captions, name" in text
    assert "captions.jsonl" in text


def test_a_feature_of_another_class_is_named(folder, capfd):
    text = (folder / "features.json").read_text().replace("image_feature.Image", "video.Video")
    (folder / "features.json").write_text(text)
    assert "(image is 'Video')" in refusal(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content",
    [
        "", "{}", "[]", "null", "[" * 99_999,
        '{"splits": [{"name": 3, "shardLengths": 4}]}',
        '{"splits": [{"name": "train", "shardLengths": ["-7"]}]}',
        '{"splits": [{"name": "train", "shardLengths": ["9999999999999999"]}]}',
    ],
)  # fmt: skip
def test_an_account_of_the_set_that_is_none_is_one_sentence(folder, content):
    (folder / "dataset_info.json").write_text(content)
    assert "dataset_info.json cannot be read" in refusal(folder)


def test_a_set_without_its_files_or_features_is_refused_and_nothing_is_lost(folder):
    (folder / "features.json").unlink()
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match="cannot be read"):
        Built(folder, "train")[0]
    assert sorted(folder.iterdir()) == before
    assert split_lengths(folder)["train"] == 4


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "*-train.array_rec*"])
def test_a_pipe_in_the_place_of_a_file_hangs_nothing(folder, name):
    [path] = folder.glob(name)
    path.unlink()
    os.mkfifo(path)
    assert "pipe" in refusal(folder) or "is no file" in refusal(folder)


def test_the_folder_of_a_set_is_asked_for_where_one_above_it_was_given(folder):
    for above in (folder.parent, folder.parent.parent):
        with pytest.raises(InputError, match=r"holds TFDS sets in folders below.*/set'"):
            catalogue.find_source(str(above))


def test_damaged_records_are_rejected_one_by_one(folder):
    [path] = folder.glob("*train.array_record*")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 :: 7] = b"\xff" * len(data[len(data) // 3 :: 7])
    path.write_bytes(data)
    with pytest.raises((Rejected, InputError), match=r"corrupt record|cannot be read"):
        [Built(folder, "train")[index] for index in range(4)]
