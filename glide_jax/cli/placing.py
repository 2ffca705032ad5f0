"""Files for pictures in a folder of the user's, in which nothing is ever overwritten."""

import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL import Image


class Place(NamedTuple):
    """A file for a picture, and what is there: see `images.found`, but for "other"."""

    path: pathlib.Path
    found: str


def paths(out: pathlib.Path, stem: str, parameters: Mapping[str, Any]) -> Iterator[pathlib.Path]:
    """The files that a picture may have, in order; all but the first name its parameters' hash.

    Args:
        out: the folder.
        stem: a name that other pictures may have, too.
        parameters: the picture's; pictures of one prompt and setting have one hash.
    """
    from glide_jax import images

    first = f"{stem}-{images.fingerprint(parameters, ('seed', 'index'))[:8]}"
    yield out / f"{stem}.png"
    yield out / f"{first}.png"
    yield from (out / f"{first}-{k}.png" for k in itertools.count(2))


def place(out: pathlib.Path, stem: str, parameters: Mapping[str, Any]) -> Place:
    """The file where a picture is already, or else the first that is no other's.

    Args:
        out: the folder.
        stem: the file's name, if that is free.
        parameters: the picture's.
    """
    from glide_jax import images

    free: Place | None = None
    for number, path in enumerate(paths(out, stem, parameters)):
        found = images.found(path, parameters)
        if found == "same":
            return Place(path, found)
        if found != "other":
            free = free or Place(path, found)
        if free and number:  # the picture is under neither of its usual names
            return free
    raise AssertionError("the names do not end")


def write(
    out: pathlib.Path,
    stem: str,
    image: "Image.Image",
    parameters: Mapping[str, Any],
    *,
    again: bool = False,
    source: str | None = None,
) -> Place:
    """Writes a picture unless it is there already; other files stay.

    Args:
        out: the folder.
        stem: the file's name, if that is free.
        image: the picture.
        parameters: the picture's.
        again: whether it replaces itself where it is there.
        source: where the picture comes from, see `images.save_png`.

    Returns:
        The file, and what was there before.
    """
    from glide_jax import images

    while True:
        where = place(out, stem, parameters)
        if where.found == "same" and not again:
            return where
        try:
            images.write_png(where.path, image, parameters, where.found == "nothing", source)
        except FileExistsError:  # another process has just taken it
            continue
        return where


def write_sheet(
    out: pathlib.Path,
    stem: str,
    sheet: "Image.Image",
    parameters: Mapping[str, Any],
    source: str | None = None,
) -> pathlib.Path:
    """Writes a picture that is known by its pixels; see `write`.

    Args:
        out: the folder.
        stem: the file's name, if that is free.
        sheet: the picture, such as a contact sheet.
        parameters: more to be written into it.
        source: where its pictures come from, see `images.save_png`.
    """
    from glide_jax import images

    parameters = {**parameters, "sha256": images.pixels_hash(sheet)}
    return write(out, stem, sheet, parameters, again=True, source=source).path


def write_beside(picture: pathlib.Path, suffix: str, data: bytes) -> pathlib.Path:
    """Writes a file named like a picture; one with other bytes stays, and this gets a number.

    Args:
        picture: the picture's file.
        suffix: the new file's suffix.
        data: its bytes.
    """
    from glide_jax.files import replacing

    for number in itertools.count(1):
        path = picture.with_name(f"{picture.stem}{f'-{number}' * (number > 1)}{suffix}")
        if path.is_file() and path.read_bytes() == data:
            return path
        if not os.path.lexists(path):
            with replacing(path, new=True) as temporary:
                temporary.write_bytes(data)
            return path
    raise AssertionError("the numbers do not end")
