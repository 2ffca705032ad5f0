"""COCO captions (Lin et al., 2014; Chen et al., 2015): a reader, and how to get the pictures.

The annotations are CC BY 4.0; the photographs belong to their authors on Flickr, under the licence
that the annotations give for each. Layout, that of the archives when they are unpacked:

    annotations/captions_train2017.json   annotations/captions_val2017.json
    train2017/000000000009.jpg ...        val2017/...
"""

import contextlib
import json
import operator
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence

from glide_jax import checks
from glide_jax.data.example import Example, captions_of, decode
from glide_jax.errors import InputError
from glide_jax.files import replacing, replacing_dir

SPLITS = ("train", "val")
YEARS = (2014, 2017)


# The zips on COCO's server by name, each with its url, size and sha256.
ARCHIVES = json.loads(pathlib.Path(__file__).with_name("coco_archives.json").read_bytes())


class Coco:
    """The pictures of a split with their (usually five) captions, in the order of their ids.

    Args:
        path: the folder that holds `annotations` and the pictures' folders.
        split: "train" or "val".
        year: 2014 or 2017, the division into splits.

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
        try:
            table = json.loads(file.read_bytes())
            by_id = operator.itemgetter("id")
            images = sorted(table["images"], key=by_id)
            captions: dict[int, list[str]] = {image["id"]: [] for image in images}
            for note in sorted(table["annotations"], key=by_id):
                captions[note["image_id"]].append(note["caption"])
            self.names = [image["file_name"] for image in images]
            self.caption_lists = [captions[image["id"]] for image in images]  # raw
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{str(file)!r} is not a COCO captions file ({type(error).__name__}: {error})."
            ) from None
        for name in self.names:
            if os.path.basename(name) != name:
                raise InputError(f"{str(file)!r} names {name!r}; it must be a plain file name.")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Example:
        name = self.names[index]
        captions = captions_of(self.caption_lists[index], name)
        return Example(decode(self.images / name, name), captions, name)


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
