"""Files that are either whole or absent, read as JSON, or held by one process."""

import collections
import contextlib
import fcntl
import glob
import json
import os
import pathlib
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from glide_jax import checks
from glide_jax.errors import InputError

_WAY_OUT = "wait for its end or stop it, or take another folder."
_LONGEST_JSON = 1 << 24
_IMPOSTORS = (
    (rb"version https://git-lfs", "is a Git LFS pointer: run `git lfs pull` for the file itself"),
    (rb"(\xef\xbb\xbf)?\s*<", "is a web page or an XML error message: fetch the file itself again"),
)


def expanded(path: str | os.PathLike) -> pathlib.Path:
    """The path with a home in place of `~` or `~user` at its start, as a shell reads it.

    A path that needs no home stays as it is. One whose first name is a tilde all the same, as in
    ./~, becomes absolute, so that it is not read as a home later.

    Raises:
        InputError: there is no such home, and nothing has the name itself.
    """
    text = os.path.expanduser(path)
    if text.startswith("~") and not os.path.lexists(text):
        home = pathlib.Path(text).parts[0]
        raise InputError(
            f"{checks.shown(text, 200)}: {checks.shown(home)} has no home folder here; give the "
            f"path in full, or ./{home} for a name that begins so."
        )
    plain = pathlib.Path(text)
    return plain.absolute() if str(plain).startswith("~") else plain


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
    temporary = pathlib.Path(name)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH)
        with naming(path):
            yield temporary
        _flush(temporary)
        # mkstemp makes files private; a result should be as readable as any other new file.
        temporary.chmod(0o666 & ~_umask())
        if new:
            _claim(temporary, path)
        else:
            temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def remove_left(temporary: pathlib.Path) -> None:
    """Removes what `replacing` or `replacing_dir` left, unless a process is still writing it."""
    with contextlib.suppress(FileNotFoundError):
        handle = os.open(temporary, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:  # a file system without locks
            pass
        finally:
            os.close(handle)
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink()


def remove_all_left(path: pathlib.Path) -> None:
    """Removes what killed processes left of earlier writings of a file or directory."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # another user's: it is in nobody's way
            remove_left(temporary)


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
    remove_all_left(path)
    temporary = pathlib.Path(
        tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    )
    handle = os.open(temporary, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH)
        with naming(path):
            yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(path)  # an empty directory in the way is replaced
    finally:
        os.close(handle)
        shutil.rmtree(temporary, ignore_errors=True)


def is_stream(path: str | os.PathLike) -> bool:
    """Whether a path is a pipe or a device, which may give nothing for ever, or never end."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def impostor(path: pathlib.Path) -> str | None:
    """Describes what stands in a file's place, with the remedy; None if it may be the file itself.

    Git leaves a pointer where it did not fetch a large file, and a server sends a page where it
    does not send one.
    """
    if os.path.isdir(path) or is_stream(path):
        return "is a folder" if os.path.isdir(path) else "is no file"
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except (OSError, ValueError):  # whoever reads it has the reason
        return None
    for pattern, what in _IMPOSTORS:
        if re.match(pattern, head):
            return what
    return None


def read_object(path: pathlib.Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        InputError: it holds something else, or cannot be read.
    """
    name = checks.shown(str(path), 200)
    try:
        if not path.is_file():  # a named pipe, say, from which nothing comes
            raise InputError(f"{name} {'is no file' if path.exists() else 'is missing'}.")
        if path.stat().st_size > _LONGEST_JSON:
            raise InputError(f"{name} has over {_LONGEST_JSON >> 20} MB; no file of ours has.")
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # also bytes that are no text, and huge numbers
        why = checks.printable(str(error).removesuffix("."))
        raise InputError(f"{name} {impostor(path) or f'is not valid JSON: {why}'}.") from None
    if not isinstance(value, dict):
        raise InputError(f"{name} holds {checks.shown(value)}; it must be a JSON object.")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):  # the last would win in silence
        twice, _ = collections.Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{checks.shown(twice)} stands in it twice")
    return value


def set_aside(path: pathlib.Path, content: bytes) -> pathlib.Path:
    """Adds damaged lines of a file to one beside it, of which the path is returned."""
    aside = path.with_name(f"{path.name}.damaged")
    with open(aside, "ab") as file:
        file.write(content.rstrip(b"\n") + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return aside


@contextlib.contextmanager
def held(path: pathlib.Path, what: str) -> Iterator[bool]:
    """Keeps other processes out of what a lock file stands for, as long as this one lives.

    Args:
        path: the lock file, which names its holder; it is gone in the end. A process that was
            killed leaves it, but no lock.
        what: the thing that is locked, for the message.

    Yields:
        Whether it is locked: some file systems know no locks.

    Raises:
        InputError: another process holds it.
        OSError: the file cannot be written.
    """
    while True:
        file = open(path, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise InputError(f"{what} is in use by {_holder(file)}; {_WAY_OUT}") from None
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            yield False
            return
        if _is_at(file.fileno(), path):  # and was not removed by a holder before
            break
        file.close()
    with file:
        try:
            file.truncate(0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": since}, file)
            with naming(path):
                file.flush()
            yield True
        finally:
            path.unlink(missing_ok=True)


def _holder(file: Any) -> str:
    try:
        file.seek(0)
        found = json.loads(file.read(1000))
        host, since = (checks.printable(str(found[key]))[:100] for key in ("host", "since"))
        return f"process {checks.whole('pid', found['pid'], 1, 1 << 31)} on {host} since {since}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
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
