"""Sets are built for real, a few pictures each, and read back by the loader's way."""

import json
import multiprocessing
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from glide_jax.data import catalogue
from glide_jax.data.example import Example, Rejected
from glide_jax.data.readers import built, parquet, shapes
from glide_jax.data.recipes import builders, packing
from glide_jax.errors import InputError
from tests.data import icons

SMALL = 30  # pictures in the train split


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    icons.write(folder)
    builders.build("shapes_64", folder, size=SMALL)
    for name in ("emoji_256", "emoji_64", "emoji_no_people_64"):
        builders.build(name, folder)
    return folder


def names(folder, kind, **options):
    lengths = built.split_lengths(catalogue.built_folder(kind, 64, folder))
    sources = [catalogue.open_source(kind, path=folder, split=s, **options) for s in lengths]
    return {source[k].name for source in sources for k in range(len(source))}


def test_a_built_set_is_read_without_tensorflow(data_dir):
    code = (
        "import sys\n"
        "from glide_jax.data import catalogue\n"
        "from glide_jax.data.recipes import builders\n"
        f"s = catalogue.open_source('shapes', path={str(data_dir)!r})\n"
        "assert s[3].image.shape == (64, 64, 3)\n"
        "assert not {'tensorflow', 'jax', 'flax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_building_needs_no_tensorflow(data_dir):
    assert "tensorflow" not in sys.modules  # the fixture has built in this process


def test_shapes_are_those_of_their_seed_and_keep_their_captions(data_dir):
    source = catalogue.open_source("shapes", path=data_dir)
    assert len(source) == 30
    example = source[7]
    index = int(example.name.split("/")[1])
    scene = shapes.sample_scene(np.random.default_rng((0, index)), split="train")
    np.testing.assert_array_equal(example.image, shapes.render(scene, 64))
    assert example.captions == (shapes.caption(scene),)


def test_the_held_out_split_of_shapes_holds_only_what_training_never_shows(data_dir):
    source = catalogue.open_source("shapes", path=data_dir, split="held_out")
    for k in range(len(source)):
        assert shapes.held_out(shapes.parse(source[k].captions[0]))


def test_several_captions_of_a_picture_survive_in_their_order(data_dir):
    source = catalogue.open_source("emoji", path=data_dir)
    example = next(e for e in map(source.__getitem__, range(len(source))) if "bell" in e.name)
    assert example.captions[0] == "bell"
    assert example.captions[1].endswith(" emoji of bell")
    assert len(example.captions) == 4


def test_a_small_set_is_its_large_one_made_smaller_by_area(data_dir):
    small = catalogue.open_source("emoji", path=data_dir, image_size=64)
    large = catalogue.open_source("emoji", path=data_dir, image_size=256)
    by_name = {e.name: e for e in map(large.__getitem__, range(len(large)))}
    assert len(small) == len(large)
    for k in range(len(small)):
        blocks = by_name[small[k].name].image.reshape(64, 4, 64, 4, 3).astype(float)
        # Rows and columns are each rounded to 8 bits.
        np.testing.assert_allclose(small[k].image, blocks.mean((1, 3)), atol=1.01)


def test_the_small_set_is_the_same_whether_or_not_the_large_one_is_there(data_dir, tmp_path):
    icons.write(tmp_path)
    builders.build("emoji_64", tmp_path)
    assert names(tmp_path, "emoji") == names(data_dir, "emoji")
    notes = [
        built.notes(catalogue.built_folder("emoji", 64, d, exact=True))
        for d in (data_dir, tmp_path)
    ]
    assert notes[0] == notes[1]


def test_blank_and_repeated_pictures_are_left_out_and_counted(data_dir):
    notes = built.notes(catalogue.built_folder("emoji", 64, data_dir))
    assert notes["rejected"] == {"blank": 1}
    assert "CC-BY-4.0" in notes["attribution"]


def test_a_picture_of_training_that_equals_a_held_out_one_is_left_out(tmp_path):
    picture = np.full((256, 256, 3), 9, np.uint8)
    held_out, train = ([Example(picture, ("a",), name)] for name in "ht")
    other = Example(picture + 9, ("b",), "other")
    recipe = builders.Recipe({"held_out": held_out, "train": [*train, other]}, "mine")
    pairs = builders.Pairs("emoji_64", recipe, tmp_path)
    pairs.download_and_prepare()
    assert pairs.rejected == Counter({"exact duplicate": 1})
    assert built.Built(tmp_path / "emoji_64/1.0.0", "train")[0].name == "other"


def test_people_are_left_out_of_their_own_set(data_dir):
    assert any("grinning" in name for name in names(data_dir, "emoji"))
    assert not any("grinning" in name for name in names(data_dir, "emoji_no_people"))


def test_a_finished_set_is_not_built_again(data_dir):
    folder = builders.build("shapes_64", data_dir, size=SMALL)
    stamp = (folder / built.INFO).stat().st_mtime_ns
    assert builders.build("shapes_64", data_dir) == folder
    assert (folder / built.INFO).stat().st_mtime_ns == stamp


def test_another_size_than_the_one_that_is_there_is_refused(data_dir):
    with pytest.raises(InputError, match=r"size is 31, but .* is built with 30 pictures"):
        builders.build("shapes_64", data_dir, size=31)


def test_a_split_of_which_nothing_is_usable_is_said_with_the_reasons(tmp_path):
    grey = np.full((256, 256, 3), 9, np.uint8)
    recipe = builders.Recipe(
        {"a": [Example(grey, ("a",), "a")], "b": [Example(grey, ("b",), "b")]}, ""
    )
    with pytest.raises(InputError, match="split b is usable: 1 exact duplicate"):
        builders.Pairs("emoji_64", recipe, tmp_path).download_and_prepare()


def _build_slowly(folder: str) -> None:
    builders.build(
        "shapes_64",
        pathlib.Path(folder),
        size=SMALL,
        progress=lambda split, done, all_: time.sleep(0.5),
    )


def test_a_build_that_was_killed_leaves_no_set_and_is_done_anew(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_build_slowly, args=(tmp_path,))
    process.start()
    while not list(tmp_path.glob("shapes_64/incomplete.*")):
        time.sleep(0.05)
        assert process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with pytest.raises(InputError, match="not built"):
        catalogue.open_source("shapes", path=tmp_path)
    builders.build("shapes_64", tmp_path, size=SMALL)
    assert len(catalogue.open_source("shapes", path=tmp_path)) == 30
    assert [p.name for p in (tmp_path / "shapes_64").iterdir()] == [built.VERSION]


def test_a_build_that_fails_half_way_leaves_nothing(tmp_path):
    def stop(split, done, all_):
        if split == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        builders.build("shapes_64", tmp_path, size=SMALL, progress=stop)
    assert not any((tmp_path / "shapes_64").iterdir())


def test_of_two_that_build_a_set_one_waits_for_the_other(tmp_path):
    told = []
    with ThreadPoolExecutor() as pool:
        building = [
            pool.submit(
                builders.build,
                "shapes_64",
                tmp_path,
                size=SMALL,
                progress=lambda *s: told.append(s),
            )
            for _ in range(2)
        ]
        assert len({done.result() for done in building}) == 1
    assert told.count(("train", 30, 30)) == 1


def test_progress_is_told_to_the_end_of_each_split(tmp_path):
    told = []
    builders.build("shapes_64", tmp_path, size=SMALL, progress=lambda *stage: told.append(stage))
    assert ("held_out", 3, 3) in told
    assert told[-1] == ("train", 30, 30)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("emoji", {}, "no set 'emoji'; known are shapes_64, "),
        ("emoji_64", {"size": 5}, "only the shapes sets"),
        ("coco_64", {}, "coco needs COCO's own folder"),
        ("coco_64", {"path": "/nowhere"}, "does not exist"),
    ],
)
def test_a_wrong_wish_is_one_sentence(tmp_path, name, options, sentence):
    with pytest.raises(InputError, match=sentence):
        builders.build(name, tmp_path, **options)
    assert not (tmp_path / name).exists()


def test_coco_is_built_from_its_own_layout_and_keeps_the_aspect(tmp_path):
    (tmp_path / "coco/annotations").mkdir(parents=True)
    (tmp_path / "coco/val2017").mkdir()
    Image.new("RGB", (200, 100), "teal").save(tmp_path / "coco/val2017/7.jpg")
    (tmp_path / "coco/val2017/8.jpg").write_bytes(b"not a picture")
    table = {
        "images": [{"id": 7, "file_name": "7.jpg"}, {"id": 8, "file_name": "8.jpg"}],
        "annotations": [
            {"id": k, "image_id": image, "caption": f"text {k} "}
            for k, image in enumerate((7, 7, 8))
        ],
    }
    (tmp_path / "coco/annotations/captions_val2017.json").write_text(json.dumps(table))
    folder = builders.build("coco_64", tmp_path, path=str(tmp_path / "coco"))
    example = catalogue.open_source("coco", path=tmp_path, split="val")[0]
    assert (example.image.shape, example.captions) == ((64, 128, 3), ("text 0", "text 1"))
    assert built.notes(folder)["rejected"] == {"corrupt image": 1}
    unbuilt = catalogue.open_source("coco", path=tmp_path / "coco", split="val")
    assert unbuilt[0].captions == example.captions


def test_a_source_can_be_sent_to_another_process_after_use(data_dir):
    source = catalogue.open_source("shapes", path=data_dir)
    example = source[0]
    other = pickle.loads(pickle.dumps(source))
    assert "_records" not in vars(other)
    assert other[0].name == example.name


def test_an_index_beyond_the_end_is_an_ordinary_error(data_dir):
    source = catalogue.open_source("shapes", path=data_dir)
    for index in (30, -1):
        with pytest.raises(IndexError):
            source[index]


def test_damaged_files_are_a_sentence_or_a_rejected_record(tmp_path):
    folder = builders.build("shapes_64", tmp_path, size=SMALL)
    file = next(folder.glob("*train.array_record*"))
    data = bytearray(file.read_bytes())
    data[100:2000] = bytes(1900)
    file.write_bytes(data)
    source = catalogue.open_source("shapes", path=tmp_path)
    with pytest.raises((Rejected, InputError), match=r"corrupt record|cannot be read"):
        [source[k] for k in range(30)]
    file.write_bytes(b"")
    with pytest.raises((Rejected, InputError), match=r"corrupt record|cannot be read"):
        catalogue.open_source("shapes", path=tmp_path)[0]


def test_a_packed_set_holds_the_same_pictures_for_the_parquet_source(data_dir, tmp_path):
    folder = catalogue.built_folder("emoji", 256, data_dir)
    paths = packing.pack(folder, tmp_path / "packed")
    assert {path.stem for path in paths} == set(built.split_lengths(folder))
    before = built.Built(folder, "train")
    after = parquet.Parquet(tmp_path / "packed/train.parquet")
    assert len(after) == len(before)
    for k in range(len(after)):
        assert after[k].captions == before[k].captions
        np.testing.assert_array_equal(after[k].image, before[k].image)
    assert "CC-BY-4.0" in (tmp_path / "packed/README.md").read_text()


def test_only_pictures_that_take_much_room_lose_a_little_in_packing():
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.normal(size=(256, 256, 3)), axis=1) * 2 + 128
    noisy = np.clip(smooth, 0, 255).astype(np.uint8)
    image = builders._encode(noisy, "WEBP")
    assert len(packing._small(image)) < len(image)
    flat = builders._encode(np.zeros((256, 256, 3), np.uint8), "WEBP")
    assert packing._small(flat) == flat
