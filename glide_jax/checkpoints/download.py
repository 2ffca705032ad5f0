"""Large files over HTTP: each arrives whole, or one sentence says why not.

Bytes that have arrived lie in `NAME.part` beside the target, so a cut costs nothing: the next
request, of this process or a later one, fetches the rest if the remote file is still the same.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import re
import stat
import time
import urllib.parse
from collections.abc import Iterator

from glide_jax import checks, files
from glide_jax.checkpoints.transfer import LONGEST_HOURS, Progress, Retry, Transfer, read_note
from glide_jax.errors import InputError

_ENOUGH = 1 << 20  # a try that brought this many bytes does not count as a failed one
_LONGEST_PAUSE = 30.0
_LONGEST_WISH = 900.0  # seconds for which a server may ask to be left alone


def fetch_file(
    url: str,
    path: str | os.PathLike,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    retries: int = 4,
    timeout: float = 60.0,
    pause: float = 1.0,
) -> pathlib.Path:
    """The path of a file that is whole and right, downloaded unless it is there already.

    The file's hash is recorded in `NAME.json` beside it and compared on later calls. A file without
    such a record was put there by hand and is accepted. Processes that need the same file wait for
    the first one. A try fails when less than 1,000 bytes a second come; a server's Retry-After is
    heeded up to 15 minutes; all tries together may take 24 hours.

    Args:
        url: an http or https address.
        path: the file to make.
        sha256: the hash that the file must have, if it is known.
        size: the file's size in bytes, if it is known.
        progress: receives the bytes done, and their final number or None.
        retries: how many tries in a row may fail after the first one.
        timeout: seconds without an answer after which a try fails.
        pause: seconds between tries, doubled at each failure in a row.

    Raises:
        InputError: the URL, the network, the server, the disk or the file that arrived is wrong.
    """
    path = pathlib.Path(path)
    _check(url, sha256)
    sha256 = sha256.lower() if sha256 else None
    if _is_there(url, path, sha256, size):
        return path
    part = path.with_name(f"{path.name}.part")
    with _locked(part, path) as descriptor:
        if not _is_there(url, path, sha256, size):  # unless another process was faster
            until = time.monotonic() + 3600 * LONGEST_HOURS
            transfer = Transfer(url, part, descriptor, size, progress, timeout, until)
            _persist(transfer, retries, pause, path)
            _finish(transfer, path, sha256)
    return path


def _check(url: str, sha256: str | None) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in parts.netloc or not re.fullmatch(r"[!-~]+", url):
        raise InputError(f"{url!r} is not a web address: give one like https://host/file.")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(f"{sha256!r} is not a SHA-256 hash: give its 64 hexadecimal digits.")


def _persist(transfer: Transfer, retries: int, pause: float, path: pathlib.Path) -> None:
    """Tries until the part is whole, or until `retries` tries in a row brought nothing."""
    best, failures = transfer.done(), 0
    while True:
        try:
            return transfer.attempt()
        except Retry as reason:
            done = transfer.done()
            failures = 0 if done >= best + _ENOUGH else failures + 1
            best = max(best, done)
            if failures > retries:
                raise InputError(
                    f"{path.name} could not be fetched from {transfer.host} ({reason}): run again "
                    f"to go on where it stopped, or put the file at {path} by hand."
                ) from None
            if reason.pause > _LONGEST_WISH:
                raise InputError(
                    f"{transfer.host} wants to be asked for {path.name} again in "
                    f"{reason.pause:.0f} s ({reason}): run again then, to go on where it stopped."
                ) from None
            usual = min(pause * 2 ** max(failures - 1, 0), _LONGEST_PAUSE)
            time.sleep(max(usual, reason.pause))


def _finish(transfer: Transfer, path: pathlib.Path, sha256: str | None) -> None:
    """Checks the hashes of the part, renames it to the target and records its hash."""
    record = _record(transfer.url, transfer.part)
    hashes = {"sha256": (sha256, record["sha256"])}
    if md5 := transfer.announced_md5():
        hashes["md5"] = (md5, _digest(transfer.part, "md5"))
    for kind, (expected, actual) in hashes.items():
        if expected and expected != actual:
            transfer.discard()
            raise InputError(
                f"{path.name} arrived with the {kind} {actual} instead of {expected} and was "
                "deleted: try again, or check the hash you gave."
            )
    try:
        os.fsync(transfer.descriptor)
        transfer.part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    transfer.note.unlink(missing_ok=True)
    _write_record(path, record)


def _digest(path: pathlib.Path, kind: str) -> str:
    with open(path, "rb") as file:
        new = lambda: hashlib.new(kind, usedforsecurity=False)
        return hashlib.file_digest(file, new).hexdigest()


# Files that are there already, and their records.


def _is_there(url: str, path: pathlib.Path, sha256: str | None, size: int | None) -> bool:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name the file should have in it.")
    if path.exists() and not path.is_file():  # a named pipe, say, from which nothing comes
        raise InputError(f"{path} is no file: choose another name for the download.")
    try:
        actual = _record(url, path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    record = read_note(path.with_name(f"{path.name}.json"))
    if not re.fullmatch(r"[0-9a-f]{64}", str(record.get("sha256"))):
        record = {}  # it is a note, not a lock: without it the file is accepted
    if record and record["url"] != actual["url"] and not sha256:
        url = checks.printable(record["url"][:300])
        raise InputError(f"{path} came from {url}: delete it, or choose another path.")
    expected = sha256 or record.get("sha256")
    if expected not in (None, actual["sha256"]) or size not in (None, actual["size"]):
        raise InputError(
            f"{path} has {actual['size']} bytes and the sha256 {actual['sha256']} instead of "
            f"{'any number of' if size is None else size} bytes and "
            f"{expected or 'any hash'}: delete it to fetch it again."
        )
    if not record:
        _write_record(path, actual)
    return True


def _record(url: str, path: pathlib.Path) -> dict:
    """A file's origin, without the query, which may be a secret of its user, size and hash."""
    plain = urllib.parse.urlunsplit((*urllib.parse.urlsplit(url)[:3], "", ""))
    return {"url": plain, "size": path.stat().st_size, "sha256": _digest(path, "sha256")}


def _write_record(path: pathlib.Path, record: dict) -> None:
    # Without the right to write, the record is left out: a read-only cache is a good cache.
    with contextlib.suppress(OSError), files.replacing(f"{path}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


@contextlib.contextmanager
def _locked(part: pathlib.Path, path: pathlib.Path) -> Iterator[int]:
    """Yields a descriptor of the part file, which this process alone holds until the block ends.

    The lock is on the part itself and dies with its process. A process that waited for a part that
    was renamed or deleted meanwhile holds a lock on a file without a name, and opens it again.
    """
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(part, flags, 0o666)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise InputError(f"{part} is no file: delete it, or choose another folder.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, part):
                break
            os.close(descriptor)
    except OSError as error:
        reason = "its file system has no locks" if error.errno == errno.ENOSYS else error.strerror
        raise InputError(
            f"{path} cannot be written ({reason}): choose another folder for downloads."
        ) from None
    try:
        yield descriptor
    finally:
        if _is_at(descriptor, part) and not os.fstat(descriptor).st_size:
            part.with_name(f"{part.name}.json").unlink(missing_ok=True)
            part.unlink(missing_ok=True)
        os.close(descriptor)


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
