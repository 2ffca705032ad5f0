"""Standard streams as a process finds them: closed, cut, full, or unable to show every letter."""

import contextlib
import io
import os
import sys
from typing import Any


class _Output(io.FileIO):
    """Standard output, whose faults have a name."""

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


class _Errors(io.FileIO):
    """Standard error, whose faults are passed over: a line that nobody can see stops no work."""

    def write(self, data: Any) -> int | None:
        with contextlib.suppress(OSError):
            return super().write(data)
        return len(data)


def prepare() -> None:
    """Makes the streams that Python found closed, and puts faults of the others right."""
    sys.stdin = sys.stdin or os.fdopen(0)
    for number, (name, kind) in enumerate({"stdout": _Output, "stderr": _Errors}.items(), 1):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # and not one that a test has put in its place
            encoding = getattr(stream, "encoding", "utf-8")
            raw = io.BufferedWriter(kind(number, "w", closefd=False))
            # Prompts may hold what a terminal cannot show.
            stream = io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True)
            setattr(sys, name, stream)


def finish() -> None:
    """Gives up what standard output cannot take, which Python would report once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
