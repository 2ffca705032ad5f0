"""Sources by name, over sets of a few pictures."""

import tarfile

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from glide_jax.data import catalogue
from glide_jax.data.readers import shapes
from glide_jax.data.recipes import builders
from glide_jax.errors import InputError
from tests.data import icons


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    icons.write(folder)
    builders.build("shapes_64", folder, size=30)
    builders.build("emoji_64", folder)
    return folder


def test_two_sources_in_one_are_read_one_behind_the_other(data_dir):
    source = catalogue.open_source("emoji+shapes", path=data_dir)
    emoji, scenes = source.parts
    assert len(source) == len(emoji) + len(scenes)
    assert source[len(emoji) - 1].name == emoji[len(emoji) - 1].name
    assert source[len(emoji)].name == scenes[0].name
    assert source[len(source) - 1].name == scenes[29].name
    with pytest.raises(IndexError):
        source[len(source)]


def test_endless_scenes_are_a_function_of_seed_and_index():
    first, again, other = (
        catalogue.open_source("shapes_endless", image_size=16, seed=s) for s in (1, 1, 2)
    )
    assert len(first) == 2**31 - 1
    last = len(first) - 1
    np.testing.assert_array_equal(first[last].image, again[last].image)
    assert first[last].image.shape == (16, 16, 3)
    assert (first[5].image != other[5].image).any()


def test_endless_scenes_can_be_of_some_kinds_only():
    source = catalogue.open_source("shapes_endless", image_size=16, kinds=("single",) * 4)
    assert {shapes.parse(source[k].captions[0]).kind for k in range(20)} == {"single"}


def test_a_kind_may_be_one_relation():
    source = catalogue.open_source("shapes_endless", image_size=16, kinds=("above",))
    assert {shapes.parse(source[k].captions[0]).relation for k in range(20)} == {"above"}


def test_a_kind_of_scene_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="kinds is 'triple'; it must be one of single, count"):
        catalogue.open_source("shapes_endless", image_size=16, kinds=("single", "triple"))


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("shapes_endless", {"path": "pictures"}, "reads no path, but path is 'pictures'"),
        ("folder", {"path": "pictures", "kinds": ("single",)}, "for source 'folder' it must be"),
    ],
)
def test_what_a_source_has_no_use_for_is_refused(name, fields, message):
    with pytest.raises(InputError, match=message):
        catalogue.open_source(name, **fields)


def test_sources_in_one_take_each_what_is_theirs(data_dir):
    both = catalogue.open_source("emoji+shapes_endless", path=data_dir, kinds=("single",))
    assert shapes.parse(both[len(both) - 1].captions[0]).kind == "single"


def test_a_home_folder_is_the_persons(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "in/a.png")
    (tmp_path / "in/a.txt").write_text("one")
    assert captions("folder", path="~/in") == ["one"]
    assert catalogue.captions_in(catalogue.find_source("~/in")[1]) == ["one"]


def test_some_captions_are_spread_over_the_set(tmp_path):
    for k in range(20):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{k:02}.png")
        (tmp_path / f"{k:02}.txt").write_text(f"{k}")
    source = catalogue.open_source("folder", path=tmp_path)
    assert catalogue.captions_in(source, 4) == ["0", "5", "10", "15"]
    both = catalogue.Joined([source, source])
    assert catalogue.captions_in(both, 1) == ["0", "0"]


def test_what_parts_pass_over_is_said_of_the_whole(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.heic").write_bytes(b"x")
    source = catalogue.open_source("folder", path=tmp_path)
    line = ".heic files (1, such as 'b.heic')"
    assert catalogue.passed_over(catalogue.Joined([source, source])) == [line, line]
    assert catalogue.passed_over(catalogue.open_source("shapes_endless", image_size=16)) == []


def captions(name, **options):
    return catalogue.captions_in(catalogue.open_source(name, **options))


def test_all_captions_of_a_source_are_to_be_had_without_its_pictures(data_dir, tmp_path):
    assert captions("shapes_endless", split="all") == shapes.captions("all")
    built_ones = captions("emoji", path=data_dir)
    assert "bell" in built_ones
    assert captions("emoji+emoji", path=data_dir) == built_ones * 2
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.png").write_bytes(b"broken: pictures are not looked at")
    (tmp_path / "b.txt").write_text("three")
    (tmp_path / "c.png").write_bytes(b"without a caption")
    assert captions("folder", path=tmp_path) == ["one", "two", "three"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("a.png", "a.txt", "b.png", "b.txt", "c.png"):
            tar.add(tmp_path / name, name)
    assert captions("webdataset", path=tmp_path / "a.tar") == ["one", "two", "three"]
    columns = {"jpg": [b"broken", b""], "caption": ["one", "two"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet", row_group_size=1)
    assert captions("parquet", path=tmp_path / "a.parquet") == ["one", "two"]


def test_a_set_that_is_not_built_is_an_error_that_names_the_command(tmp_path):
    with pytest.raises(InputError, match="`glide-jax data build clipart_256`"):
        catalogue.open_source("clipart", path=tmp_path, image_size=128)
    with pytest.raises(InputError, match="at most 256"):
        catalogue.open_source("clipart", path=tmp_path, image_size=512)


def test_a_wrong_name_split_or_missing_path_is_one_sentence(data_dir):
    with pytest.raises(InputError, match=r"source is 'emojis'; known are shapes, .*folder"):
        catalogue.open_source("emojis")
    with pytest.raises(InputError, match=r"split is 'test'; .* has held_out, train"):
        catalogue.open_source("shapes", path=data_dir, split="test")
    with pytest.raises(InputError, match="say which with path"):
        catalogue.open_source("webdataset")
    with pytest.raises(InputError, match="split is 'x'"):
        catalogue.open_source("shapes_endless", split="x")
