"""Every source by name: `open_source` is what configs and the command line call."""

import difflib
import os
import pathlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from glide_jax import checks, files
from glide_jax.data.example import Example, Rejected, Source, spread
from glide_jax.data.readers import built, emoji_views, procedural
from glide_jax.data.readers.coco import Coco
from glide_jax.data.readers.folder import Folder
from glide_jax.data.readers.parquet import Parquet
from glide_jax.data.readers.webdataset import WebDataset
from glide_jax.data.tally import Tally
from glide_jax.errors import InputError

SETS = ("shapes", "emoji", "emoji_no_people", "clipart", "coco")  # built once, then read
SIDES = (64, 256)  # each of them is built at these sizes
READERS = {"folder": Folder, "webdataset": WebDataset, "parquet": Parquet}  # read in place
SUFFIXES = {".tar": "webdataset", ".parquet": "parquet"}
ENDLESS = "shapes_endless"
FLAT = "emoji_flat"  # part of the set emoji
NAMES = (*SETS, FLAT, ENDLESS, "emoji+clipart", *READERS)
DATA_DIR = pathlib.Path("~/.cache/glide_jax/data")

StrPath = str | os.PathLike


def open_source(
    name: str,
    *,
    path: StrPath = "",
    split: str = "train",
    image_size: int = 64,
    seed: int = 0,
    kinds: Sequence[str] = (),
    data_dir: StrPath | None = None,
) -> Source:
    """Opens a source of training pairs; names joined by + are sources in one.

    Args:
        name: one of NAMES, or several joined by +.
        path: the files of folder, webdataset and parquet, or COCO's own folder; for a built set,
            its data_dir.
        split: a built set's or COCO's; `folder` and the like have none.
        image_size: smallest side in pixels; pictures are at least as large where the source has
            such.
        seed: decides the scenes of shapes_endless.
        kinds: scenes of shapes_endless, in the form `shapes.sample_scene` takes; () for
            `procedural.KINDS`.
        data_dir: where sets are built; by default ~/.cache/glide_jax/data.

    Raises:
        InputError: there is no such source, set or split, the set is not built, or path or kinds
            are given to a source that has none.
    """
    path = files.expanded(path) if path else ""
    check_source(name, path, kinds)
    if "+" in name:
        names = name.split("+")
        mine = lambda part: part == ENDLESS or ENDLESS not in names  # else another part's kinds
        parts = {  # a name that is there more than once is opened once
            part: open_source(part, path="" if part == ENDLESS else path, split=split,
                              image_size=image_size, seed=seed, kinds=kinds if mine(part) else (),
                              data_dir=data_dir)
            for part in names
        }  # fmt: skip
        return Joined([parts[name] for name in names])
    if name == ENDLESS:
        return procedural.Scenes(image_size, split, seed, tuple(kinds) or procedural.KINDS)
    if name == "coco" and path and (pathlib.Path(path) / "annotations").is_dir():
        return Coco(path, split)
    if name == FLAT:
        return emoji_views.Flat(
            built.Built(built_folder("emoji", image_size, path or data_dir), split)
        )
    if name in SETS:
        return built.Built(built_folder(name, image_size, path or data_dir), split)
    if not str(path):
        raise InputError(f"source {name!r} reads files of yours; say which with path.")
    return READERS[name](path)


def check_source(name: str, path: StrPath = "", kinds: Sequence[str] = ()) -> None:
    """Refuses what no data would make right.

    Args:
        name: see `open_source`.
        path: see `open_source`.
        kinds: see `open_source`.

    Raises:
        InputError: there is no such source, or path or kinds are given to one that has none.
    """
    names = name.split("+")
    for part in names:
        if part not in NAMES:
            raise InputError(f"source is {part!r}; known are {', '.join(NAMES)}.")
    if kinds and ENDLESS not in names:
        raise InputError(
            f"kinds is {tuple(kinds)}, but only {ENDLESS!r} has kinds of scenes; for source "
            f"{name!r} it must be empty."
        )
    if path and name == ENDLESS:
        raise InputError(
            f"source {ENDLESS!r} draws its scenes and reads no path, but path is "
            f"{str(path)!r}; for files of yours the source is one of {', '.join(READERS)}."
        )


def check_set(name: str) -> None:
    """Refuses what is no name of a set, nor several joined by +; for what is no folder.

    Raises:
        InputError: it is neither; the nearest name is given.
    """
    if os.path.isfile(name):
        raise InputError(f"{checks.shown(name, 200)} is a file; give a folder that holds pictures.")
    if wrong := [part for part in name.split("+") if part not in NAMES]:
        near = difflib.get_close_matches(wrong[0], names := (*SETS, FLAT, ENDLESS), n=1)
        hint = f"did you mean {near[0]}?" if near else f"sets are {', '.join(names)}."
        raise InputError(
            f"{checks.shown(name, 200)} is no folder here, and not the name of a set; {hint}"
        )


def captions_in(source: Source, most: int | None = None) -> list[str]:
    """Returns the captions of a source, without decoding its pictures where it can do that.

    Records that cannot be used have none.

    Args:
        source: the examples.
        most: records to read at the most, spread evenly; None for all.
    """
    if isinstance(source, Joined):
        return [text for part in source.parts for text in captions_in(part, most)]
    if isinstance(source, procedural.Scenes):
        return source.all_captions()[:most]
    texts: list[str] = []
    read = getattr(source, "captions_at", lambda index: source[index].captions)
    for index in spread(len(source), len(source) if most is None else most):
        try:
            texts += read(index)
        except Rejected:
            continue  # the loader counts and reports it
    return texts


def passed_over(source: Source) -> list[str]:
    """Returns a phrase for each kind of thing that a source's reader found and does not use."""
    parts = source.parts if isinstance(source, Joined) else (source,)
    return [line for part in parts for line in getattr(part, "passed", Tally()).lines()]


def built_folder(
    name: str, image_size: int, data_dir: StrPath | None = None, *, exact: bool = False
) -> pathlib.Path:
    """Returns the folder of the smallest built version of a set with large enough pictures.

    Args:
        name: the set's, without a size.
        image_size: smallest side in pixels.
        data_dir: where sets are built; by default ~/.cache/glide_jax/data.
        exact: refuse the larger versions.

    Raises:
        InputError: none is built; the message has the command that builds it.
    """
    root = files.expanded(data_dir or DATA_DIR)
    sides = [side for side in SIDES if side >= image_size]
    if not sides:
        raise InputError(f"image_size is {image_size}; {name} has at most {SIDES[-1]} pixels.")
    for side in sides[:1] if exact else sides:
        folder = root / f"{name}_{side}" / built.VERSION
        if (folder / built.INFO).exists():
            return folder
    raise InputError(
        f"{name}_{sides[0]} is not built in {root}: run `glide-jax data build {name}_{sides[0]}`."
    )


class Joined:
    """Sources one behind the other, as one source."""

    def __init__(self, parts: Sequence[Source]):
        self.parts = tuple(parts)
        self._ends = list(accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        k = bisect_right(self._ends, index)
        return self.parts[k][index - (self._ends[k - 1] if k else 0)]


def find_source(
    what: str, data_dir: StrPath | None = None, split: str = "train"
) -> tuple[pathlib.Path | None, Source]:
    """Opens what a word of the command line names.

    Args:
        what: the name of a source or set, with its size or without, or the path of files.
        data_dir: where sets are built; by default ~/.cache/glide_jax/data.
        split: a built set's or COCO's.

    Returns:
        The folder of a built set, else None; and the source.

    Raises:
        InputError: it is neither, or cannot be opened.
    """
    root = files.expanded(data_dir or DATA_DIR)
    name, _, side = what.rpartition("_")
    if name in SETS and side in map(str, SIDES):
        folder = built_folder(name, int(side), root, exact=True)
        return folder, built.Built(folder, split)
    path = files.expanded(what)
    if what in READERS or (what not in NAMES and "+" not in what):
        if (kind := SUFFIXES.get(path.suffix)) and not os.path.exists(path):
            return None, open_source(kind, path=path)  # a pattern
        if not os.path.exists(path):
            known = ", ".join(f"{one}_{side}" for one in SETS for side in SIDES)
            raise InputError(
                f"{what!r} is neither a file or folder nor a set; known sets are {known}."
            )
        if (path / built.INFO).exists():
            return path, built.Built(path, split)
        if below := sorted([*path.glob(f"*/{built.INFO}"), *path.glob(f"*/*/{built.INFO}")]):
            raise InputError(
                f"{str(path)!r} holds TFDS sets in folders below; give one of these, such as "
                f"{str(below[0].parent)!r}."
            )
        return None, open_source(_kind(path), path=path, split=split)
    return None, open_source(what, data_dir=root, split=split)


def _kind(path: pathlib.Path) -> str:
    """Returns the name of the reader for a file or folder."""
    try:
        names = [one.name for one in path.iterdir()] if path.is_dir() else [path.name]
    except OSError as error:
        raise InputError(f"folder {str(path)!r} cannot be read: {error.strerror}.") from None
    for suffix, kind in SUFFIXES.items():
        if any(name.lower().endswith(suffix) for name in names):
            return kind
    if not path.is_dir():
        raise InputError(f"{str(path)!r} is no .tar or .parquet file; give one, or a folder.")
    return "coco" if "annotations" in names else "folder"
