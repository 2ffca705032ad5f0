"""Code that several studies share."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Iterator


def cache_folder() -> pathlib.Path:
    """GLIDE_JAX_CACHE, or ~/.cache/glide_jax."""
    return pathlib.Path(os.environ.get("GLIDE_JAX_CACHE") or "~/.cache/glide_jax").expanduser()


@contextlib.contextmanager
def progress(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """Shows the progress of a run on one line of standard error."""

    def report(task: str, done: int, total: int) -> None:
        of_all = f" of {total}" if total else ""
        print(f"\r{name}: {task} {done}{of_all} ", end="", file=sys.stderr, flush=True)

    yield report
    print(file=sys.stderr)
