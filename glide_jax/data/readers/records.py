"""Parts that the packed sources share: finding their files, and captions in JSON."""

import glob
import os
import pathlib
from typing import Any

from glide_jax.errors import InputError

TEXT_FIELDS = ("text", "caption", "captions")


def caption_fields(row: Any) -> list[str]:
    """Returns all texts that a JSON object gives as captions, under any of the usual names."""
    texts: list[Any] = []
    for field in TEXT_FIELDS if isinstance(row, dict) else ():
        value = row.get(field)
        texts += value if isinstance(value, list) else [value]
    return [text for text in texts if isinstance(text, str)]


def files_of(path: str | os.PathLike, suffix: str) -> list[pathlib.Path]:
    """Returns the files of a path in the order of their names: itself, a folder's, or a pattern's.

    Raises:
        InputError: there is none.
    """
    given = pathlib.Path(path)
    if given.is_file():
        paths = [given]
    elif given.is_dir():
        paths = sorted(one for one in given.rglob(f"*{suffix}") if one.is_file())
    else:
        paths = sorted(map(pathlib.Path, glob.glob(str(path), recursive=True)))
    if not paths:
        raise InputError(
            f"{str(path)!r} is no {suffix} file, no folder that holds some, and no pattern that "
            "matches any."
        )
    return paths
