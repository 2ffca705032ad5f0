"""Damaged files in every reader: a value or a sentence, no traceback, no hang, no gigabyte."""

import functools
import io
import json
import shutil
import tarfile
from collections import Counter

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from glide_jax.data import catalogue
from glide_jax.data.example import Rejected
from glide_jax.data.readers.built import Built
from glide_jax.data.readers.coco import Coco
from glide_jax.data.recipes import builders, rendering
from glide_jax.errors import InputError
from tests import fuzz

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow has much to say of damaged pictures
FEW, MANY = 40, 350  # damaged copies for each reader
MOST_BYTES = 1 << 30


def picture(kind="PNG", side=9):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def read_all(open_source):
    """Opens a source and reads every record in every way; raises the last one's complaint."""
    source = open_source()
    complaint = None
    catalogue.passed_over(source)
    for index in range(min(len(source), 20)):
        try:
            source[index]
        except Rejected as rejected:
            complaint = rejected
    catalogue.captions_in(source, 20)
    if complaint is not None:
        raise complaint


def tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        files = {
            "a.png": picture(),
            "a.txt": b"one\ntwo",
            "in/b.jpg": picture("JPEG"),
            "in/b.json": b'{"caption": "three"}',
            "\u00fc" * 60 + ".png": picture(),
            "\u00fc" * 60 + ".txt": b"four",
        }
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def rows():
    buffer = io.BytesIO()
    columns = {"jpg": [picture(), picture("JPEG")] * 3, "caption": ["one", "two"] * 3}
    parquet.write_table(pyarrow.table(columns), buffer, row_group_size=2)
    return buffer.getvalue()


def coco_notes():
    images = [{"id": k, "file_name": f"{k}.png"} for k in range(4)]
    notes = [{"id": k, "image_id": k % 4, "caption": f"caption {k}"} for k in range(8)]
    return json.dumps({"images": images, "annotations": notes}).encode()


INFO, FEATURES = "dataset_info.json", "features.json"
RECORDS = "shapes_64-train.array_record-00000-of-00001"
TABLE = b"".join(
    json.dumps({"file_name": f"{k}.png", "text": [f"caption {k}", "and more"]}).encode() + b"\n"
    for k in range(4)
)
CSV = b"file_name,text\n" + b"".join(b'%d.png,"caption, %d"\n' % (k, k) for k in range(4))
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><defs><g id="s"><rect width="9" '
    b'height="9" fill="#f00"/></g></defs><g transform="scale(1)"><use href="#s"/></g></svg>'
)


def in_folder(folder, name, data):
    """A folder of four pictures with captions, one file of it damaged."""
    folder.mkdir(exist_ok=True)
    for k in range(4):
        (folder / f"{k}.png").write_bytes(picture())
        if name.endswith((".png", ".txt")):
            (folder / f"{k}.txt").write_text("a caption")
    (folder / name).write_bytes(data)
    return functools.partial(catalogue.open_source, "folder", path=folder)


def in_tar(folder, name, data):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    (folder / "x.tar.index.npz").unlink(missing_ok=True)
    return functools.partial(catalogue.open_source, "webdataset", path=folder)


def in_index(folder, name, data):
    folder.mkdir(exist_ok=True)
    if not (folder / "x.tar").exists():
        (folder / "x.tar").write_bytes(tar())
    (folder / name).write_bytes(data)
    return functools.partial(catalogue.open_source, "webdataset", path=folder)


def in_parquet(folder, name, data):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return functools.partial(catalogue.open_source, "parquet", path=folder)


def in_coco(folder, name, data):
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "val2017").mkdir(exist_ok=True)
    for k in range(4):
        (folder / f"val2017/{k}.png").write_bytes(picture())
    (folder / name).write_bytes(data)
    return lambda: Coco(folder, "val")


@functools.cache
def built_set(root):
    return builders.build("shapes_64", root, size=4)


def in_built(folder, name, data):
    if not folder.exists():
        shutil.copytree(built_set(folder.parent / "built"), folder)
    (folder / name).write_bytes(data)
    return lambda: Built(folder, "train")


def good_of(tmp_path, name):
    return (built_set(tmp_path / "built") / name).read_bytes()


def index_of(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good/x.tar").write_bytes(tar())
    catalogue.open_source("webdataset", path=tmp_path / "good")
    return (tmp_path / "good/x.tar.index.npz").read_bytes()


KINDS = {  # a kind of file: (its place, the good one, and a set with the damaged one in its place)
    "jsonl": ("captions.jsonl", lambda _: TABLE, in_folder),
    "csv": ("metadata.csv", lambda _: CSV, in_folder),
    "txt": ("0.txt", lambda _: "één, twee\ndrie".encode(), in_folder),
    "png": ("0.png", lambda _: picture(), in_folder),
    "jpeg": ("0.png", lambda _: picture("JPEG", 30), in_folder),
    "webp": ("0.png", lambda _: picture("WEBP", 30), in_folder),
    "gif": ("0.png", lambda _: picture("GIF"), in_folder),
    "tiff": ("0.png", lambda _: picture("TIFF"), in_folder),
    "bmp": ("0.png", lambda _: picture("BMP"), in_folder),
    "tar": ("x.tar", lambda _: tar(), in_tar),
    "tar index": ("x.tar.index.npz", index_of, in_index),
    "parquet": ("x.parquet", lambda _: rows(), in_parquet),
    "coco": ("annotations/captions_val2017.json", lambda _: coco_notes(), in_coco),
    "info of a built set": (INFO, lambda path: good_of(path, INFO), in_built),
    "features of a built set": (FEATURES, lambda path: good_of(path, FEATURES), in_built),
    "records of a built set": (RECORDS, lambda path: good_of(path, RECORDS), in_built),
}


def read_drawing(data):
    text = data.decode("utf-8", "replace")
    rendering.check_visible(rendering.icon(text, "x.svg"), "x.svg")


def try_all(kind, tmp_path, count, seed):
    """Reads damaged copies; returns how they were answered."""
    answers: Counter[str] = Counter()
    before = fuzz.peak_bytes()  # what earlier tests of this process took
    if kind == "svg":
        name, good, place = "x.svg", SVG, None
    else:
        name, make, place = KINDS[kind]
        good = make(tmp_path)

    def answer(data):
        if place is None:
            read = functools.partial(read_drawing, data)
        else:
            read = functools.partial(read_all, place(tmp_path / "set", name, data))
        return fuzz.answers(read, allowed=(InputError, Rejected))

    assert answer(good) is None
    for data in fuzz.mutations(good, count=count, seed=seed):
        answers["read" if answer(data) is None else "refused"] += 1
    assert fuzz.peak_bytes() < MOST_BYTES + before
    return answers


EVERY = [*KINDS, "svg"]


@pytest.mark.parametrize("kind", EVERY)
def test_damaged_files_are_read_or_refused_in_a_sentence(kind, tmp_path):
    assert try_all(kind, tmp_path, FEW, 0)["refused"] or kind == "tar index"


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVERY)
def test_thousands_of_damaged_files_are(kind, tmp_path):
    try_all(kind, tmp_path, MANY, 1)
