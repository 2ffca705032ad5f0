"""Sets that `builders` has written: TFDS ArrayRecord files, read at random without TensorFlow."""

import json
import pathlib
from functools import cached_property
from typing import Any

import numpy as np

from glide_jax.data.example import Example, Rejected, captions_of, decode
from glide_jax.errors import InputError
from glide_jax.extras import extra

VERSION = "1.0.0"
INFO = "dataset_info.json"


class Built:
    """One split of a built set: a `Source`.

    Args:
        folder: one version of the set, which holds dataset_info.json.
        split: the name of one of its splits.

    Raises:
        InputError: there is no such set or split.
    """

    def __init__(self, folder: pathlib.Path, split: str):
        lengths = split_lengths(folder)
        if split not in lengths:
            raise InputError(f"split is {split!r}; {folder} has {', '.join(lengths)}.")
        self.folder, self.split, self._length = folder, split, lengths[split]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Example:
        record = self.record(index)
        captions = captions_of(record["captions"], record["name"])
        return Example(decode(record["image"], record["name"]), captions, record["name"])

    def captions_at(self, index: int) -> list[str]:
        """Returns a record's captions, without decoding its picture."""
        return self.record(index)["captions"]

    def record(self, index: int) -> dict[str, Any]:
        """Returns an encoded picture ("image"), its "captions" and its "name".

        Raises:
            Rejected: "corrupt record".
        """
        if not 0 <= index < self._length:  # the reader of the files would end the process
            raise IndexError(index)
        try:
            record = self._records[index]
        except (RuntimeError, ValueError) as error:
            why = str(error).split("\n")[0]
            raise Rejected("corrupt record", f"{self.folder}[{index}]: {why}") from None
        texts = [text.decode() for text in np.ravel(record["captions"]).tolist()]
        return {"image": record["image"], "captions": texts, "name": record["name"].decode()}

    @cached_property
    def _records(self) -> Any:
        extra("array_record")
        import tensorflow_datasets as tfds  # a second or two, and no TensorFlow

        try:
            return tfds.builder_from_directory(self.folder).as_data_source(
                split=self.split,  # pyright: ignore[reportCallIssue]
                decoders={"image": tfds.decode.SkipDecoding()},
            )
        except (OSError, RuntimeError, ValueError) as error:
            why = str(error).split("\n")[0].rstrip(".")
            raise InputError(
                f"{self.folder} cannot be read ({why}): delete it and build it again."
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay behind: a worker process opens its own.
        return {key: value for key, value in self.__dict__.items() if key != "_records"}


def split_lengths(folder: pathlib.Path) -> dict[str, int]:
    """Returns the number of pictures in each split of a built set.

    Raises:
        InputError: `folder` holds no set that was built to the end.
    """
    try:
        splits = json.loads((folder / INFO).read_bytes())["splits"]
        return {s["name"]: sum(map(int, s["shardLengths"])) for s in splits}
    except FileNotFoundError:
        raise InputError(f"{folder} is not a built set: it has no {INFO}.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / INFO} cannot be read: {error}.") from None


def notes(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the notes taken at building: rejected (reason: count) and attribution."""
    try:
        content = json.loads((folder / "metadata.json").read_bytes())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}  # a set that others built has none
