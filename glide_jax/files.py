"""Files that are either whole or absent."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, new: bool = False) -> Iterator[pathlib.Path]:
    """Yields a temporary file name beside `path`; renames it to `path` if the block succeeds.

    A crash at any moment leaves the old file, or none, and never half of the new one.

    Raises:
        FileExistsError: `new` is true, and there is a file by then; it stays.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        with _naming(path):
            yield temporary
        _flush(temporary)
        # mkstemp makes files private; a result should be as readable as any other new file.
        temporary.chmod(0o666 & ~_umask())
        if new:
            _claim(temporary, path)
        else:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_dir(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields an empty directory beside `path` that becomes `path` if the block succeeds.

    Raises:
        FileExistsError: `path` exists and is not an empty directory.
    """
    path = pathlib.Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} exists and is not an empty directory.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(
        tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    )
    try:
        with _naming(path):
            yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(path)  # an empty directory in the way is replaced
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Adds the name of the file to an error of the disk; that of a full disk has none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _claim(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Gives a file the name `path`, which no file may have; of two processes one is first."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists.") from None
        temporary.replace(path)


def _flush(path: pathlib.Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
