"""Writers of a run's numbers: a JSON-lines file, and TensorBoard if it is installed."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from glide_jax.files import replacing


class JsonLines:
    """A file of one JSON object a line, each with its "step".

    Lines of steps that a resumed run is going to take again are dropped when the file is opened,
    and so is half a line at its end: the file of a run that was killed and resumed is that of one
    that was not.

    Args:
        path: the file; made if missing.
        step: the run goes on from it.
    """

    def __init__(self, path: pathlib.Path, step: int = 0):
        kept = [line for line in _lines(path) if _step(line) <= step]
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def write(self, line: Mapping[str, Any]) -> None:
        """Adds a line; it is on the disk when this returns, before the checkpoint that follows."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def picture(self, step: int, pixels: np.ndarray) -> None:
        """Pictures are files of their own."""

    def close(self) -> None:
        """Closes the file."""
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


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []


def _step(line: str) -> float:
    """A line's step; infinity for what is no line of ours."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
