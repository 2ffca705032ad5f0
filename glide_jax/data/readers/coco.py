"""COCO captions (Lin et al., 2014; Chen et al., 2015): a reader, and how to get the pictures.

The annotations are CC BY 4.0; the photographs belong to their authors on Flickr, under the licence
that the annotations give for each. Layout, that of the archives when they are unpacked:

    annotations/captions_train2017.json   annotations/captions_val2017.json
    train2017/000000000009.jpg ...        val2017/...
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from glide_jax import checks
from glide_jax.data.example import Example, Rejected, captions_of, decode, read_bytes
from glide_jax.data.readers.records import parse_json, utf8
from glide_jax.data.tally import Tally
from glide_jax.errors import InputError
from glide_jax.files import replacing, replacing_dir

SPLITS = ("train", "val")
YEARS = (2014, 2017)
_MOST_NOTES = 1 << 28  # bytes of a file of captions; COCO's own have 92 MB


# The zips on COCO's server by name, each with its url, size and sha256.
ARCHIVES = json.loads(pathlib.Path(__file__).with_name("coco_archives.json").read_bytes())


class Coco:
    """The pictures of a split with their (usually five) captions, in the order of their ids.

    Args:
        path: the folder that holds `annotations` and the pictures' folders.
        split: "train" or "val".
        year: 2014 or 2017, the division into splits.

    Attributes:
        passed: the account of pictures and annotations that are there and not used.

    Raises:
        InputError: the split or year is unknown, or a file is missing or damaged.
    """

    def __init__(self, path: str | os.PathLike, split: str = "train", *, year: int = 2017):
        _check_names((split,), year)
        file = pathlib.Path(path) / "annotations" / f"captions_{split}{year}.json"
        self.images = pathlib.Path(path) / f"{split}{year}"
        for needed in (file, self.images):
            if not needed.exists():
                raise InputError(
                    f"{str(needed)!r} does not exist; give the folder that holds COCO's "
                    "'annotations' and picture folders, or download it."
                )
        self.passed = Tally()
        self._records = _records(file, self.passed)
        for name, _ in self._records:
            if os.path.basename(name) != name or checks.printable(name) != name:
                raise InputError(
                    f"{str(file)!r} names {checks.shown(name)}; it must be a plain file name."
                )

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        name, captions = self._records[index][0], self.captions_at(index)
        return Example(decode(self.images / name, name), captions, name)

    def captions_at(self, index: int) -> tuple[str, ...]:
        """Returns a record's captions, without its picture; raises `Rejected` as `[index]` does."""
        name, captions = self._records[index]
        return captions_of(captions, name)

    @property
    def names(self) -> list[str]:
        """Each picture's file name."""
        return [name for name, _ in self._records]

    @property
    def caption_lists(self) -> list[list[str]]:
        """Each picture's captions."""
        return [captions for _, captions in self._records]

    def stamp(self) -> Iterator[Any]:
        """Yields names and captions, by which a change of the set is noticed."""
        yield from self._records


def _records(file: pathlib.Path, passed: Tally) -> list[tuple[str, list[str]]]:
    """Reads the names of pictures with their captions, in the order of the pictures' ids.

    Sets made from COCO's have notes on pictures that they left out, ids as text, and gaps.

    Args:
        file: the annotations.
        passed: takes pictures and notes that cannot be used.

    Raises:
        InputError: it is not a COCO captions file, or none of its pictures has a caption.
    """
    shown = checks.shown(str(file), 300)
    try:
        table = parse_json(utf8(read_bytes(file, file.name, _MOST_NOTES), file.name))
        images, notes = table["images"], table["annotations"]
        if not (isinstance(images, list) and isinstance(notes, list)):
            raise TypeError("its images and annotations must be lists")
    except KeyError as error:
        raise InputError(f"{shown} is not a COCO captions file (it has no {error}).") from None
    except (ValueError, TypeError, Rejected) as error:
        raise InputError(f"{shown} is not a COCO captions file ({error}).") from None
    names: dict[int | str, str] = {}
    twice: set[int | str] = set()
    captions: dict[int | str, list[str]] = {}
    for image in images:
        key, name = _id(image, "id"), image.get("file_name") if isinstance(image, dict) else None
        if key is None:
            passed.add("pictures without an id", str(name))
        elif not isinstance(name, str) or not name:
            passed.add("pictures without a file name", f"id {key}")
        elif names.setdefault(key, name) != name:
            twice.add(key)
            passed.add("pictures whose id another one has", name)
    for note in sorted(notes, key=lambda note: _order(_id(note, "id"))):
        key, text = _id(note, "image_id"), note.get("caption") if isinstance(note, dict) else None
        if not isinstance(text, str):
            passed.add("annotations without a caption", f"id {_id(note, 'id')}")
        elif key not in names:
            passed.add("captions of pictures that are not listed", f"image_id {key}: {text}")
        else:
            captions.setdefault(key, []).append(text)
    keys = sorted((key for key in names if key not in twice), key=_order)
    if not any(key in captions for key in keys):
        raise InputError(
            f"{shown} is not a COCO captions file (none of its {len(images):,} pictures has a "
            f"caption; passed over: {passed})."
        )
    folder = f"{file.stem.removeprefix('captions_')}/"
    return [(names[key].removeprefix(folder), captions.get(key, [])) for key in keys]


def _id(row: Any, field: str) -> int | str | None:
    """Returns an id; one that is written as text, or as a fraction, is the number that it names."""
    value = row.get(field) if isinstance(row, dict) else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value):
        return int(value)
    return value if isinstance(value, int | str) else None


def _order(key: int | str | None) -> tuple[bool, bool, int | str]:
    """Numbers in their order, then text, and last what has no id."""
    return (key is None, isinstance(key, str), 0 if key is None else key)


def download(
    folder: str | os.PathLike,
    fetch: Callable[..., pathlib.Path],
    *,
    splits: Sequence[str] = SPLITS,
    year: int = 2017,
) -> pathlib.Path:
    """Fetches COCO's captions and pictures into a folder, unless they are there already.

    An archive is deleted once it is unpacked; both steps go on, or start anew, if interrupted.

    Args:
        folder: where they go.
        fetch: (url, path, sha256=, size=) to a file that is whole: `download.fetch_file`.
        splits: "train" (118 k pictures, 19 GB), "val" (5 k, 0.8 GB) or both.
        year: 2014 or 2017.

    Returns:
        The folder.

    Raises:
        InputError: a name is unknown, the download fails, or an archive is not what it should be.
    """
    folder = pathlib.Path(folder)
    _check_names(splits, year)
    notes = [f"annotations/captions_{split}{year}.json" for split in splits]
    if not all((folder / note).exists() for note in notes):
        with _fetched(folder, f"annotations{year}", fetch) as archive:
            for note in notes:
                _unpack_file(archive, note, folder / note)
    for name in (f"{split}{year}" for split in splits):
        if not (folder / name).exists():
            with _fetched(folder, name, fetch) as archive:
                unpack_folder(archive, name, folder / name)
    return folder


def unpack_folder(archive: zipfile.ZipFile, name: str, target: pathlib.Path) -> None:
    """Writes the files directly in a folder of a zip to `target`, all of them or nothing.

    Names come from the archive, so only plain ones are taken: a member that would land elsewhere
    makes the whole archive suspect.

    Args:
        archive: the open zip.
        name: the folder in it.
        target: the folder to make.

    Raises:
        InputError: the folder is not in the archive, or a name leads out of it.
    """
    members = [one for one in archive.infolist() if not one.is_dir()]
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise InputError(
                f"{archive.filename} holds {member.filename!r}, which leads out of it; it is not "
                "the archive it should be."
            )
    chosen = [one for one in members if pathlib.PurePosixPath(one.filename).parent.name == name]
    if not chosen:
        raise InputError(f"{archive.filename} holds no folder {name!r}; it must.")
    with replacing_dir(target) as temporary:
        for member in chosen:
            _copy(archive, member, temporary / pathlib.PurePosixPath(member.filename).name)


@contextlib.contextmanager
def _fetched(
    folder: pathlib.Path, name: str, fetch: Callable[..., pathlib.Path]
) -> Iterator[zipfile.ZipFile]:
    """Opens an archive, fetched if need be, and deletes it if all went well."""
    wanted = ARCHIVES[name]
    target = folder / wanted["url"].rpartition("/")[2]
    path = fetch(wanted["url"], target, sha256=wanted["sha256"], size=wanted["size"])
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as a zip: {error}.") from None
    with archive:
        yield archive
    path.unlink()
    path.with_name(f"{path.name}.json").unlink(missing_ok=True)


def _unpack_file(archive: zipfile.ZipFile, name: str, target: pathlib.Path) -> None:
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise InputError(f"{archive.filename} holds no {name!r}; it must.") from None
    with replacing(target) as temporary:
        _copy(archive, member, temporary)


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: pathlib.Path) -> None:
    try:
        with archive.open(member) as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive.filename} is damaged ({error}); fetch it again.") from None


def _check_names(splits: Sequence[str], year: int) -> None:
    for split in splits:
        checks.one_of("split", split, SPLITS)
    if year not in YEARS:
        raise InputError(f"year is {year!r}; it must be one of {', '.join(map(str, YEARS))}.")
