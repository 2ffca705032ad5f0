"""COCO captions (Lin et al., 2014; Chen et al., 2015): a reader, and how to get the pictures.

The annotations are CC BY 4.0; the photographs belong to their authors on Flickr, under the licence
that the annotations give for each. Layout, that of the archives when they are unpacked:

    annotations/captions_train2017.json   annotations/captions_val2017.json
    train2017/000000000009.jpg ...        val2017/...
"""

import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

from glide_jax import checks
from glide_jax.data.example import Example, captions_of, decode
from glide_jax.errors import InputError
from glide_jax.files import replacing, replacing_dir

SPLITS = ("train", "val")
YEARS = (2014, 2017)


class Archive(NamedTuple):
    """A zip on COCO's server."""

    url: str
    size: int
    sha256: str


_SERVER = "http://images.cocodataset.org"
ARCHIVES = {
    "annotations2014": Archive(
        f"{_SERVER}/annotations/annotations_trainval2014.zip",
        252_872_794,
        "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
    ),
    "annotations2017": Archive(
        f"{_SERVER}/annotations/annotations_trainval2017.zip",
        252_907_541,
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    ),
    "train2014": Archive(
        f"{_SERVER}/zips/train2014.zip",
        13_510_573_713,
        "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
    ),
    "val2014": Archive(
        f"{_SERVER}/zips/val2014.zip",
        6_645_013_297,
        "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    ),
    "train2017": Archive(
        f"{_SERVER}/zips/train2017.zip",
        19_336_861_798,
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    "val2017": Archive(
        f"{_SERVER}/zips/val2017.zip",
        815_585_330,
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
}


class Coco:
    """The pictures of a split with their (usually five) captions, in the order of their ids.

    Args:
        path: the folder that holds `annotations` and the pictures' folders.
        split: "train" or "val".
        year: 2014 or 2017, of the division into splits.

    Raises:
        InputError: the split or year is unknown, or a file is missing or damaged.
    """

    def __init__(self, path: str | os.PathLike, split: str = "train", *, year: int = 2017):
        checks.one_of("split", split, SPLITS)
        _check_year(year)
        file = pathlib.Path(path) / "annotations" / f"captions_{split}{year}.json"
        self.images = pathlib.Path(path) / f"{split}{year}"
        for needed in (file, self.images):
            if not needed.exists():
                raise InputError(
                    f"{str(needed)!r} does not exist; give the folder that holds COCO's "
                    "'annotations' and picture folders, or download it."
                )
        try:
            table = json.loads(file.read_bytes())
            captions: dict[int, list[str]] = {one["id"]: [] for one in table["images"]}
            self._names = [one["file_name"] for one in sorted(table["images"], key=_id)]
            for note in sorted(table["annotations"], key=_id):
                captions[note["image_id"]].append(note["caption"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{str(file)!r} is not a COCO captions file ({type(error).__name__}: {error})."
            ) from None
        self._captions = [captions[one["id"]] for one in sorted(table["images"], key=_id)]
        for name in self._names:
            if os.path.basename(name) != name:
                raise InputError(f"{str(file)!r} names {name!r}; it must be a plain file name.")

    @property
    def names(self) -> list[str]:
        """The files of the pictures."""
        return self._names

    @property
    def caption_lists(self) -> list[list[str]]:
        """The captions of each picture, without decoding it."""
        return self._captions

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        name = self._names[index]
        captions = captions_of(self._captions[index], name)
        return Example(decode(self.images / name, name), captions, name)


def download(
    folder: str | os.PathLike,
    fetch: Callable[..., pathlib.Path],
    *,
    splits: Sequence[str] = SPLITS,
    year: int = 2017,
) -> pathlib.Path:
    """The folder with COCO's captions and pictures in it; what is there already is not fetched.

    An archive is deleted once it is unpacked; both steps go on, or start anew, if interrupted.

    Args:
        folder: of the result.
        fetch: (url, path, sha256=, size=) to a file that is whole: `checkpoints.download.fetch`.
        splits: of "train" (118 k pictures, 19 GB) and "val" (5 k, 0.8 GB).
        year: 2014 or 2017.

    Raises:
        InputError: a name is unknown, the download fails, or an archive is not what it should be.
    """
    folder = pathlib.Path(folder)
    _check_year(year)
    for split in splits:
        checks.one_of("split", split, SPLITS)
    notes = {f"annotations/captions_{split}{year}.json": split for split in splits}
    if not all((folder / note).exists() for note in notes):
        with _Fetched(folder, f"annotations{year}", fetch) as archive:
            for note in notes:
                _unpack_file(archive, note, folder / note)
    for split in splits:
        if not (folder / f"{split}{year}").exists():
            with _Fetched(folder, f"{split}{year}", fetch) as archive:
                unpack_folder(archive, f"{split}{year}", folder / f"{split}{year}")
    return folder


def unpack_folder(archive: zipfile.ZipFile, name: str, target: pathlib.Path) -> None:
    """Writes the files directly in folder `name` of a zip to `target`, all of them or nothing.

    Names come from the archive, so only plain ones are taken: a member that would land elsewhere
    makes the whole archive suspect.

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


class _Fetched:
    """Opens an archive, fetched if need be, and deletes it if all went well."""

    def __init__(self, folder: pathlib.Path, name: str, fetch: Callable[..., pathlib.Path]):
        wanted = ARCHIVES[name]
        path = folder / wanted.url.rpartition("/")[2]
        self.path = fetch(wanted.url, path, sha256=wanted.sha256, size=wanted.size)

    def __enter__(self) -> zipfile.ZipFile:
        try:
            self.archive = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path} cannot be read as a zip: {error}.") from None
        return self.archive

    def __exit__(self, kind: type | None, *rest: object) -> None:
        self.archive.close()
        if kind is None:
            self.path.unlink()
            self.path.with_name(f"{self.path.name}.json").unlink(missing_ok=True)


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


def _check_year(year: int) -> None:
    if year not in YEARS:
        raise InputError(f"year is {year!r}; it must be one of {', '.join(map(str, YEARS))}.")


def _id(one: dict) -> int:
    return one["id"]
