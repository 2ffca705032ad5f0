"""COCO captions on a tiny copy of its layout, and its archives from a tiny server's place."""

import io
import json
import os
import pathlib
import re
import zipfile

import pytest
from PIL import Image

from glide_jax.data.example import Rejected
from glide_jax.data.readers import coco
from glide_jax.data.readers.coco import Coco, download, unpack_folder
from glide_jax.errors import InputError


def picture(grey):
    buffer = io.BytesIO()
    Image.new("RGB", (10, 12), (grey,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def notes(count=3):
    images = [{"id": 10 * k, "file_name": f"{k:012}.jpg"} for k in reversed(range(count))]
    captions = [
        {"id": 100 - n, "image_id": 10 * (n % count), "caption": f"caption {n} \n"}
        for n in range(2 * count)
    ]
    return {"info": {}, "licenses": [], "images": images, "annotations": captions}


@pytest.fixture
def layout(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations/captions_val2017.json").write_text(json.dumps(notes()))
    for k in range(3):
        (tmp_path / f"val2017/{k:012}.jpg").write_bytes(picture(k))
    return tmp_path


def test_captions_of_a_picture_are_together_and_pictures_in_order(layout):
    source = Coco(layout, "val")
    assert [int(e.image[0, 0, 0]) for e in source] == [0, 1, 2]
    assert [e.captions for e in source] == [
        ("caption 3", "caption 0"),
        ("caption 4", "caption 1"),
        ("caption 5", "caption 2"),
    ]
    assert source[1].name == "000000000001.jpg"


def test_a_missing_or_broken_picture_is_rejected(layout):
    (layout / "val2017/000000000000.jpg").unlink()
    (layout / "val2017/000000000001.jpg").write_bytes(b"broken")
    table = notes() | {"annotations": notes()["annotations"][:2]}
    (layout / "annotations/captions_val2017.json").write_text(json.dumps(table))
    reasons = []
    for index in range(3):
        with pytest.raises(Rejected) as caught:
            Coco(layout, "val")[index]
        reasons.append(caught.value.reason)
    assert reasons == ["unreadable file", "corrupt image", "no caption"]


def test_what_is_not_there_or_not_coco_is_refused(layout):
    with pytest.raises(InputError, match=r"captions_train2017\.json' does not exist"):
        Coco(layout, "train")
    with pytest.raises(InputError, match="split is 'test'; it must be one of train, val"):
        Coco(layout, "test")
    with pytest.raises(InputError, match="year is 2015; it must be one of 2014, 2017"):
        Coco(layout, "val", year=2015)
    file = layout / "annotations/captions_val2017.json"
    outside = notes()
    outside["images"][0]["file_name"] = "../secret.jpg"
    file.write_text(json.dumps(outside))
    with pytest.raises(InputError, match="must be a plain file name"):
        Coco(layout, "val")
    for text in ("{", "[]", "{}", '{"images": {}, "annotations": []}', "[" * 99999):
        file.write_text(text)
        with pytest.raises(InputError, match="is not a COCO captions file"):
            Coco(layout, "val")


def read(layout, images, annotations):
    table = {"images": images, "annotations": annotations}
    (layout / "annotations/captions_val2017.json").write_text(json.dumps(table))
    source = Coco(layout, "val")
    found = {source._records[k][0]: source._records[k][1] for k in range(len(source))}
    return found, source.passed.counts


def note(k, image_id, caption="c"):
    return {"id": k, "image_id": image_id, "caption": caption}


def image(k, name=None):
    return {"id": k, "file_name": name or f"{k}.jpg"}


def test_captions_of_pictures_that_a_subset_leaves_out_are_counted(layout):
    found, passed = read(layout, [image(1)], [note(1, 1, "kept"), note(2, 77, "gone"), note(3, 78)])
    assert found == {"1.jpg": ["kept"]}
    assert passed == {"captions of pictures that are not listed": 2}


@pytest.mark.parametrize(
    ("ours", "theirs"), [("7", 7), (7, "7"), ("7", "7"), (7.0, 7), ("x1", "x1")]
)
def test_ids_as_text_are_the_numbers_that_they_name(layout, ours, theirs):
    found, passed = read(layout, [image(ours, "a.jpg"), image(10)], [note(1, theirs, "right")])
    assert found["a.jpg"] == ["right"]
    assert not passed


def test_pictures_stay_in_the_order_of_their_numbers_also_as_text(layout):
    found, _ = read(layout, [image("10"), image("9"), image("100")], [note("2", "9")])
    assert list(found) == ["9.jpg", "10.jpg", "100.jpg"]


def test_annotations_without_ids_keep_their_order(layout):
    notes_ = [{"image_id": 1, "caption": text} for text in ("first", "second", "third")]
    assert read(layout, [image(1)], notes_) == ({"1.jpg": ["first", "second", "third"]}, {})


def test_what_is_missing_or_null_is_counted_one_by_one(layout):
    images = [
        image(1), {"id": 2, "file_name": None}, {"file_name": "x.jpg"}, {"id": None}, None, 5,
        {"id": 3},
    ]  # fmt: skip
    notes_ = [
        note(1, 1, "right"),
        note(2, 1, None),
        {"id": 3, "caption": "x"},
        None,
        [],
        note(4, 2),
    ]
    found, passed = read(layout, images, notes_)
    assert found == {"1.jpg": ["right"]}
    assert passed == {
        "pictures without an id": 4, "pictures without a file name": 2,
        "annotations without a caption": 3, "captions of pictures that are not listed": 2,
    }  # fmt: skip


def test_two_pictures_of_one_id_get_no_captions_of_each_other(layout):
    images = [image(1, "a.jpg"), image(1, "b.jpg"), image(2), image(2)]
    found, passed = read(layout, images, [note(1, 1), note(2, 2, "right")])
    assert found == {"2.jpg": ["right"]}
    assert passed == {"pictures whose id another one has": 1}


def test_a_name_with_the_folder_before_it_is_that_picture(layout):
    found, _ = read(layout, [image(1, "val2017/a.jpg")], [note(1, 1)])
    assert found == {"a.jpg": ["c"]}


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "in/a.jpg", "a\0.jpg", "a\x1b[2J.jpg"])
def test_a_name_that_is_no_plain_one_is_refused_and_shown_escaped(layout, name):
    with pytest.raises(InputError, match="must be a plain file name") as caught:
        read(layout, [image(1, name)], [note(1, 1)])
    assert str(caught.value).isprintable()


def test_annotations_of_another_task_are_refused_with_what_they_are(layout):
    boxes = [{"id": 1, "image_id": 1, "bbox": [0, 0, 1, 1]}]
    with pytest.raises(InputError, match="none of its 1 pictures has a caption; passed over: anno"):
        read(layout, [image(1)], boxes)


def test_a_pipe_in_the_place_of_annotations_hangs_nothing(layout):
    path = layout / "annotations/captions_val2017.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="it is a folder, a pipe or a device"):
        Coco(layout, "val")


class Server:
    """Stands where `checkpoints.download.fetch_file` would: makes the archive of a URL."""

    def __init__(self, broken=()):
        self.asked, self.broken = [], broken

    def __call__(self, url, path, *, sha256, size):
        assert re.fullmatch("[0-9a-f]{64}", sha256)
        assert size > 1e8
        self.asked.append(url.rpartition("/")[2])
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            if "annotations" in url:
                for split in ("train", "val"):
                    text = json.dumps(notes())
                    archive.writestr(f"annotations/captions_{split}2017.json", text)
                    archive.writestr(f"annotations/instances_{split}2017.json", "large")
            else:
                name = path.stem
                archive.writestr(f"{name}/", "")
                for k in range(3):
                    archive.writestr(f"{name}/{k:012}.jpg", picture(k))
        if path.name in self.broken:
            path.write_bytes(path.read_bytes().replace(b"PNG", b"GNP", 1))
        path.with_name(f"{path.name}.json").write_text("{}")
        return path


def test_download_gives_a_folder_that_the_reader_takes(tmp_path):
    server = Server()
    download(tmp_path / "coco", server, splits=("val",))
    assert server.asked == ["annotations_trainval2017.zip", "val2017.zip"]
    assert len(list(Coco(tmp_path / "coco", "val"))) == 3
    found = sorted(p.name for p in (tmp_path / "coco").rglob("*") if p.is_file())
    assert found == [*(f"{k:012}.jpg" for k in range(3)), "captions_val2017.json"]


def test_download_fetches_only_what_is_not_there(tmp_path):
    download(tmp_path, Server(), splits=("val",))
    server = Server()
    download(tmp_path, server)
    assert server.asked == ["annotations_trainval2017.zip", "train2017.zip"]
    server = Server()
    download(tmp_path, server)
    assert server.asked == []


def test_a_damaged_archive_leaves_no_half_folder(tmp_path):
    with pytest.raises(InputError, match="damaged"):
        download(tmp_path, Server(broken=("val2017.zip",)), splits=("val",))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "annotations",
        "val2017.zip",
        "val2017.zip.json",
    ]
    with pytest.raises(InputError, match="split is 'test'"):
        download(tmp_path, Server(), splits=("test",))


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "val2017/../../evil.jpg", "/etc/evil.jpg", "val2017\\..\\..\\evil.jpg"]
)
def test_an_archive_whose_names_lead_out_of_it_is_refused_whole(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("val2017/good.jpg", b"good")
        archive.writestr(name, b"evil")
    refused = pytest.raises(InputError, match="leads out of it")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive, refused:
        unpack_folder(archive, "val2017", tmp_path / "out" / "val2017")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["x.zip"]


def test_an_archive_without_the_folder_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("other/good.jpg", b"good")
    refused = pytest.raises(InputError, match="holds no folder 'val2017'")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive, refused:
        unpack_folder(archive, "val2017", tmp_path / "val2017")


def test_every_archive_that_a_download_can_ask_for_is_listed():
    wanted = {f"{part}{year}" for part in ("annotations", *coco.SPLITS) for year in coco.YEARS}
    assert coco.ARCHIVES.keys() == wanted
    assert len({archive["sha256"] for archive in coco.ARCHIVES.values()}) == len(wanted)
