"""Sets that `builders` has written: TFDS ArrayRecord files, read at random without TensorFlow."""

import pathlib
from functools import cached_property
from typing import Any

import numpy as np

from glide_jax import checks
from glide_jax.data.example import Example, Rejected, captions_of, decode
from glide_jax.errors import InputError
from glide_jax.extras import extra
from glide_jax.files import is_stream, read_object

VERSION = "1.0.0"
INFO = "dataset_info.json"
_MOST_RECORDS = 1 << 40
FEATURES = {"image": "Image", "captions": "Sequence", "name": "Text"}  # and TFDS's classes of them


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
            has = checks.printable(", ".join(lengths), 300)
            raise InputError(f"split is {checks.shown(split)}; {folder} has {has}.")
        _check_form(folder)
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
            texts = [text.decode() for text in np.ravel(record["captions"]).tolist()]
            return {"image": record["image"], "captions": texts, "name": record["name"].decode()}
        except InputError:
            raise
        except Exception as error:  # a damaged record leads its readers to whatever comes
            why = (str(error) or type(error).__name__).split("\n")[0]
            raise Rejected("corrupt record", f"{self.folder}[{index}]: {why}") from None

    @cached_property
    def _records(self) -> Any:
        extra("array_record")
        import tensorflow_datasets as tfds  # a second or two, and no TensorFlow

        try:
            return tfds.builder_from_directory(self.folder).as_data_source(
                split=self.split,  # pyright: ignore[reportCallIssue]
                decoders={"image": tfds.decode.SkipDecoding()},
            )
        except Exception as error:  # a damaged file leads TFDS to whatever comes
            why = (str(error) or type(error).__name__).split("\n")[0].rstrip(".")
            raise InputError(
                f"{self.folder} cannot be read ({checks.printable(why, 300)}): fetch it or build "
                "it again, in another folder."
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay behind: a worker process opens its own.
        return {key: value for key, value in self.__dict__.items() if key != "_records"}


def split_lengths(folder: pathlib.Path) -> dict[str, int]:
    """Returns the number of pictures in each split of a built set.

    Raises:
        InputError: `folder` holds no set that was built to the end.
    """
    if not (folder / INFO).exists():
        raise InputError(f"{folder} is not a built set: it has no {INFO}.")
    try:
        splits = read_object(folder / INFO)["splits"]
        lengths = {str(s["name"]): sum(map(int, s["shardLengths"])) for s in splits}
        if all(0 <= length < _MOST_RECORDS for length in lengths.values()):
            return lengths
        why = "a split has an impossible length"
    except (ValueError, KeyError, TypeError) as error:
        why = checks.printable(str(error), 300).rstrip(".")
    raise InputError(f"{folder / INFO} cannot be read: {why}.")


def _check_form(folder: pathlib.Path) -> None:
    """Refuses sets that others wrote with TFDS in files, or of features, that are not ours.

    Raises:
        InputError: it says how to convert them.
    """
    for path in folder.iterdir():
        if is_stream(path):
            raise InputError(f"{path} is a pipe or a device; a set has files alone.")
    form = read_object(folder / INFO).get("fileFormat") or "tfrecord"  # the default of old versions
    ours = any(folder.glob("*.array_record*"))
    if form != "array_record" and not ours:
        raise InputError(
            f"{folder} holds a TFDS set of {checks.shown(form)} files, which only TensorFlow "
            "reads; where that is installed, `tfds convert_format --dataset_version_dir="
            f"{folder} --out_file_format=array_record --out_dir=NEW_FOLDER` writes one that is "
            "read here."
        )
    try:
        features = read_object(folder / "features.json")["featuresDict"]["features"]
        kinds = {name: features[name]["pythonClassName"].rpartition(".")[2] for name in features}
    except (InputError, KeyError, TypeError, AttributeError):
        return  # TFDS says what it finds wrong when it reads the records
    if odd := [name for name, kind in FEATURES.items() if kinds.get(name) != kind]:
        there, kind = checks.shown(list(features)), checks.shown(kinds.get(odd[0], "missing"))
        raise InputError(
            f"{folder} holds a TFDS set with the features {there}, and a set that is read here has "
            f"{', '.join(FEATURES)} ({odd[0]} is {kind}): write its pictures into a folder with a "
            "captions.jsonl, or into Parquet files."
        )


def notes(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the notes taken at building: rejected (reason: count) and attribution."""
    try:
        return read_object(folder / "metadata.json")
    except InputError:
        return {}  # a set that others built has none
