"""Large files over HTTP that arrive whole, or say in one sentence why not.

What has arrived lies in `NAME.part` beside the target, so a cut costs nothing: the next request,
in this process or a later one, asks for the rest, and only if the remote file is still the same.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import re
import time
import urllib.parse
from collections.abc import Iterator

from glide_jax import files
from glide_jax.checkpoints.transfer import Again, Progress, Transfer
from glide_jax.errors import InputError

_ENOUGH = 1 << 20  # a try that brought this much news does not count as a failed one
_LONGEST_PAUSE = 30.0


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
    """The path of a file that is whole and right, downloaded from `url` if it is not there yet.

    Its hash is recorded in `NAME.json` beside it and compared on later calls. A file without such
    a record, put there by hand, is taken as it is. Processes that want the same file wait for the
    first one. `progress` gets (bytes done, bytes in all or None); `pause` seconds, doubled at each
    failure in a row, lie between tries.

    Raises:
        InputError: the URL, the network, the server, the disk or what arrived is wrong.
    """
    path = pathlib.Path(path)
    _check(url, sha256)
    sha256 = sha256.lower() if sha256 else None
    if _is_there(url, path, sha256, size):
        return path
    part = path.with_name(f"{path.name}.part")
    with _locked(part, path) as descriptor:
        if _is_there(url, path, sha256, size):  # another process was faster
            return path
        transfer = Transfer(url, part, descriptor, size, progress, timeout)
        _persist(transfer, path, retries, pause)
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


def _persist(transfer: Transfer, path: pathlib.Path, retries: int, pause: float) -> None:
    """Tries until the part is whole, or `retries` tries in a row after one brought nothing."""
    best, failures = transfer.done(), 0
    while True:
        try:
            return transfer.attempt()
        except Again as trouble:
            done = transfer.done()
            failures = 0 if done >= best + _ENOUGH else failures + 1
            best = max(best, done)
            if failures > retries:
                host = urllib.parse.urlsplit(transfer.url).hostname
                raise InputError(
                    f"{path.name} could not be fetched from {host} ({trouble}): run again to go on "
                    f"where it stopped, or put the file at {path} by hand."
                ) from None
            time.sleep(min(pause * 2 ** max(failures - 1, 0), _LONGEST_PAUSE))


def _finish(transfer: Transfer, path: pathlib.Path, sha256: str | None) -> None:
    """Checks what arrived, gives it its name and records its hash."""
    got = _hashes(transfer.part)
    for kind, wanted in (("sha256", sha256), ("md5", transfer.announced_md5())):
        if wanted and wanted != got[kind]:
            transfer.discard()
            raise InputError(
                f"{path.name} arrived with the {kind} {got[kind]} instead of {wanted} and was "
                "deleted: try again, or check the hash you gave."
            )
    record = {"url": _plain(transfer.url), "size": transfer.done(), "sha256": got["sha256"]}
    try:
        os.fsync(transfer.descriptor)
        transfer.part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    transfer.forget()
    _write_record(path, record)


def _hashes(path: pathlib.Path) -> dict[str, str]:
    hashes = [hashlib.sha256(), hashlib.md5(usedforsecurity=False)]
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            for one in hashes:
                one.update(chunk)
    return {one.name: one.hexdigest() for one in hashes}


def _plain(url: str) -> str:
    """A URL without its query, which may be a secret of the person who asked."""
    return urllib.parse.urlunsplit((*urllib.parse.urlsplit(url)[:3], "", ""))


# A file that is there already.


def _is_there(url: str, path: pathlib.Path, sha256: str | None, size: int | None) -> bool:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name the file should have in it.")
    try:
        found = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    record = _read_record(path)
    if record and record["url"] != _plain(url) and not sha256:
        raise InputError(f"{path} came from {record['url']}: delete it, or choose another path.")
    try:
        got = _hashes(path)["sha256"]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    wanted = sha256 or record.get("sha256")
    if (wanted and got != wanted) or (size is not None and found != size):
        raise InputError(
            f"{path} has {found} bytes and the sha256 {got} instead of "
            f"{size if size is not None else record.get('size', 'any number of')} bytes and "
            f"{wanted or 'any hash'}: delete it to fetch it again."
        )
    if not record:
        _write_record(path, {"url": _plain(url), "size": found, "sha256": got})
    return True


def _read_record(path: pathlib.Path) -> dict:
    try:
        record = json.loads(path.with_name(f"{path.name}.json").read_bytes())
        return record if {type(record[key]) for key in ("url", "sha256")} == {str} else {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}  # it is a note, not a lock: without it the file is taken as it is


def _write_record(path: pathlib.Path, record: dict) -> None:
    # A cache that one may only read is a good cache.
    with contextlib.suppress(OSError), files.replacing(f"{path}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


@contextlib.contextmanager
def _locked(part: pathlib.Path, path: pathlib.Path) -> Iterator[int]:
    """A descriptor of the part file, which this process alone holds until the block ends.

    The lock is on the part itself and dies with its process. Whoever waited for a part that has
    been renamed or deleted meanwhile holds a lock on a file without that name, and asks anew.
    """
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(part, flags, 0o666)
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
