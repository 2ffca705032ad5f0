"""Writers of a run's numbers: a JSON-lines file, and TensorBoard if it is installed."""

import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from glide_jax import checks, files
from glide_jax.errors import InputError


class JsonLines:
    """A file of one JSON object a line, each with its "step".

    Lines of steps that a resumed run is going to take again are dropped when the file is opened,
    and what is no line of a run, such as half of one at the end, is set aside in a file of its own:
    the file of a run that was killed and resumed is that of one that was not.

    Args:
        path: the file; made if missing.
        step: the run goes on from it.
        note: receives a sentence if something was set aside.
    """

    def __init__(
        self, path: pathlib.Path, step: int = 0, note: Callable[[str], None] = lambda text: None
    ):
        kept, broken = [], []
        for line in _lines(path):
            if (found := _step(line)) is None:
                broken.append(line)
            elif found <= step:
                kept.append(line)
        if broken:
            aside = files.set_aside(path, b"\n".join(broken))
            note(f"{len(broken)} of {path.name} are no lines of a run and are now in {aside.name}.")
        with files.replacing(path) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in kept))
        self._path, self._file = path, open(path, "a", encoding="utf-8")  # noqa: SIM115

    def write(self, line: Mapping[str, Any]) -> None:
        """Adds a line; it is on the disk when this returns, before the checkpoint that follows."""
        with files.naming(self._path):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def picture(self, step: int, pixels: np.ndarray) -> None:
        """Pictures are files of their own."""

    def close(self) -> None:
        """Closes the file."""
        with files.naming(self._path):
            self._file.close()


class TensorBoard:
    """Event files that TensorBoard shows.

    Args:
        folder: the event files'.
        step: the run goes on from it; TensorBoard hides what was written for later ones.

    Raises:
        ImportError: the package tensorboardX is not installed.
    """

    def __init__(self, folder: pathlib.Path, step: int = 0):
        import tensorboardX

        self._writer = tensorboardX.SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, line: Mapping[str, Any]) -> None:
        """One curve for each number."""
        for name, value in line.items():
            if name != "step" and value is not None:
                self._writer.add_scalar(name, value, line["step"])
        self._writer.flush()

    def picture(self, step: int, pixels: np.ndarray) -> None:
        """A sheet of samples, uint8 (h, w, 3)."""
        self._writer.add_image("samples", pixels, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()


def _lines(path: pathlib.Path) -> list[bytes]:
    if path.exists() and not path.is_file():  # a named pipe, say, from which nothing comes
        raise InputError(f"{checks.shown(str(path), 200)} is no file; move it away.")
    try:
        return [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except FileNotFoundError:
        return []


def _step(line: bytes) -> int | None:
    """A line's step; None for what is no line of ours."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None
