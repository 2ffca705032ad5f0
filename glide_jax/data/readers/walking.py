"""The files of a folder, a pattern or a list in braces, and the account of what is passed over."""

import glob
import itertools
import os
import pathlib
import re
from collections.abc import Iterator

from glide_jax import checks
from glide_jax.data.tally import Tally
from glide_jax.errors import InputError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,12})\.\.(\d{1,12})")
_MOST_NAMES = 1_000_000  # a pattern in braces may stand for so many
_SHARD = re.compile(r"-\d+-of-\d+$")
_LONGEST_LINK = 1024  # bytes of a link's target
_RUN = "config.json"  # beside one of the next, it makes a folder a workdir of `glide-jax train`
_OF_RUNS = {"checkpoints", "metrics.jsonl"}


def files_below(root: pathlib.Path, passed: Tally) -> list[str]:
    """Returns the regular files of a folder and of those below, as seen from it, with slashes.

    Folders behind symbolic links are entered, each folder once, so that there are no loops.
    Hidden files and folders are passed over, and so are workdirs of this package's own runs.

    Args:
        root: the folder.
        passed: takes what is not returned.

    Raises:
        InputError: the folder cannot be read.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [""], []
    while folders or links:
        within = folders.pop() if folders else links.pop(0)
        try:
            there = os.stat(root / within)
            entries = sorted(os.scandir(root / within), key=lambda entry: entry.name)
        except OSError as error:
            if not within:
                raise InputError(
                    f"folder {str(root)!r} cannot be read: {error.strerror}."
                ) from None
            passed.add(f"folders that cannot be read ({error.strerror})", within)
            continue
        names = {entry.name for entry in entries}
        if (there.st_dev, there.st_ino) in seen:
            passed.add("folders met a second time, through a link", within)
        elif within and _RUN in names and names & _OF_RUNS:
            passed.add("folders of training runs", within)
        else:
            seen.add((there.st_dev, there.st_ino))
            for entry in entries:
                name = f"{within}/{entry.name}" if within else entry.name
                kind = _kind(entry)
                if kind == "folder":
                    (links if entry.is_symlink() else folders).append(name)
                elif kind == "file":
                    found.append(name)
                else:
                    passed.add(kind, name)
    return found


def _kind(entry: os.DirEntry) -> str:
    """Returns "file", "folder", or the kind under which an entry is passed over."""
    try:
        if entry.name.startswith("."):
            return "hidden files or folders"
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        entry.stat()
        return "pipes, sockets or devices"
    except OSError:
        return "links to nothing"


def suffix_of(name: str) -> str:
    """Returns what follows the last dot of a file's name, in lower case and with the dot.

    The number of a shard does not count, as in a.tfrecord-00000-of-00012.
    """
    suffix = os.path.splitext(name)[1].lower()
    return _SHARD.sub("", suffix) if "-of-" in suffix else suffix


def other_files(root: pathlib.Path, names: list[str], passed: Tally) -> None:
    """Counts files that are of no use, by suffix.

    Args:
        root: the folder.
        names: files as seen from it.
        passed: takes them.
    """
    for name in names:
        suffix = suffix_of(name)
        if suffix:
            passed.add(f"{suffix[:20]} files", name)
        elif _was_link(root / name):
            passed.add("symbolic links that were copied as text, and must be made again", name)
        else:
            passed.add("files without a suffix", name)


def _was_link(path: pathlib.Path) -> bool:
    """Whether a file holds the name of another one, as Git and zips leave links on Windows."""
    try:
        if path.stat().st_size > _LONGEST_LINK:
            return False
        target = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return bool(target.strip()) and "\0" not in target and os.path.exists(path.parent / target)


def files_of(path: str | os.PathLike, suffix: str, passed: Tally) -> list[pathlib.Path]:
    """Returns the files of a path in the order of their names: itself, a folder's, or a pattern's.

    A pattern has `*`, `?` and brackets as in a shell, and braces as WebDataset has them:
    {00000..00012} for numbers and {a,b} for words. What exists by its name is no pattern.

    Args:
        path: the file, the folder or the pattern.
        suffix: the one of files in a folder, such as ".tar".
        passed: takes a folder's other files.

    Raises:
        InputError: there is none, or one that braces name is missing.
    """
    given = pathlib.Path(path)
    if os.path.isfile(path):
        paths = [given]
    elif os.path.isdir(path):
        names = files_below(given, passed)
        chosen = [name for name in names if suffix_of(name) == suffix]
        other_files(given, [name for name in names if suffix_of(name) != suffix], passed)
        paths = sorted(given / name for name in chosen)
    else:
        paths = _matching(str(path))
    if not paths:
        raise InputError(
            f"{checks.shown(str(path), 300)} is no {suffix} file, no folder that holds some, and "
            f"no pattern that matches any{passed.there_instead}."
        )
    return paths


def _matching(pattern: str) -> list[pathlib.Path]:
    """Returns the files of a pattern; each name that braces alone give must be there."""
    if not pattern:
        return []
    # Braces and brackets of a folder that exists are part of its name.
    parents = pathlib.Path(pattern).parents
    known = str(next((one for one in parents if os.path.isdir(one)), ""))
    paths: list[str] = []
    for name in _expanded(os.path.relpath(pattern, known) if known else pattern):
        path = os.path.join(known, name)
        matches = glob.glob(os.path.join(glob.escape(known), name), recursive=True)
        files = [path] if os.path.isfile(path) else list(filter(os.path.isfile, matches))
        if not files and _BRACES.search(pattern) and not glob.has_magic(name):
            raise InputError(
                f"{checks.shown(path, 300)} is not there, which {checks.shown(pattern, 300)} names."
            )
        paths += files
    return sorted(map(pathlib.Path, dict.fromkeys(paths)))


def _expanded(pattern: str) -> Iterator[str]:
    """Yields the names that a pattern with braces stands for; itself, if it has none."""
    parts = _BRACES.split(pattern)  # text and the inside of braces take turns
    choices: list[list[str] | range] = []
    widths: list[int] = []
    for inside in parts[1::2]:
        numbers = _RANGE.fullmatch(inside)
        width = 0
        if numbers:
            first, last = map(int, numbers.groups())
            choices.append(range(first, last + 1) if first <= last else range(first, last - 1, -1))
            width = len(numbers[1]) if numbers[1].startswith("0") else 0
        elif "," in inside:
            choices.append(inside.split(","))
        else:
            choices.append([f"{{{inside}}}"])
        widths.append(width)
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST_NAMES:
        raise InputError(f"{checks.shown(pattern)} stands for {count:,} names; 1,000,000 are most.")
    for chosen in itertools.product(*choices):
        words = [str(one).zfill(width) for one, width in zip(chosen, widths, strict=True)]
        yield "".join(
            text + word for text, word in itertools.zip_longest(parts[::2], words, fillvalue="")
        )
