"""One HTTP request at a time towards a whole file."""

import base64
import contextlib
import dataclasses
import email.utils
import errno
import http.client
import json
import os
import pathlib
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus

from glide_jax import checks
from glide_jax.checkpoints import connecting
from glide_jax.errors import InputError

Progress = Callable[[int, int | None], None]
_CHUNK = 1 << 18
_MD5_BYTES = 16
LONGEST_HOURS = 24  # for a download, all tries together
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)  # and all of 5xx


class Retry(Exception):
    """A fault that may have passed at the next try.

    Args:
        reason: completes "... could not be fetched".
        pause: seconds that the server wants to be left alone.
    """

    def __init__(self, reason: str, pause: float = 0.0):
        super().__init__(reason)
        self.pause = pause


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A download and the part file it appends to; a note beside it names the remote file.

    Attributes:
        url: the remote file.
        part: the file that receives its bytes.
        descriptor: an open descriptor of `part`, in append mode.
        size: the number of bytes, if it is known.
        progress: receives the bytes done, and their final number or None.
        timeout: seconds without an answer after which a request fails.
        until: when the download ends in any case, by `time.monotonic`.
    """

    url: str
    part: pathlib.Path
    descriptor: int
    size: int | None
    progress: Progress | None
    timeout: float
    until: float

    @property
    def host(self) -> str | None:
        """The server's name."""
        return urllib.parse.urlsplit(self.url).hostname

    @property
    def name(self) -> str:
        """The name of the file that is to be."""
        return self.part.name.removesuffix(".part")

    @property
    def note(self) -> pathlib.Path:
        """The file beside the part that describes what it is a part of."""
        return self.part.with_name(f"{self.part.name}.json")

    def done(self) -> int:
        """Bytes that have arrived."""
        return os.fstat(self.descriptor).st_size

    def attempt(self) -> None:
        """Makes one request for what is missing; returns when the part is whole.

        Raises:
            Retry: the connection or the server failed in a way that may pass.
            InputError: it will fail the same way each time.
        """
        origin = self._origin()
        end = self.size if origin.get("total") is None else origin["total"]
        if not origin.get("validator") or self.done() > (end or 0):
            self._restart({})  # nothing shows that the rest would come from the same file
        elif self.done() and self.done() == end:
            return
        headers = {"User-Agent": "glide_jax", "Accept-Encoding": "identity"}
        if self.done():
            headers |= {"Range": f"bytes={self.done()}-", "If-Range": origin["validator"]}
        with self._opened(urllib.request.Request(self.url, headers=headers)) as response:
            total = self._accept(response, origin)
            self._check_room(total)
            self._copy(response, total)

    @contextlib.contextmanager
    def _opened(self, request: urllib.request.Request):
        watch = connecting.Watch(self.timeout, self.done, self.until)
        try:
            with watch.open(request) as response:
                yield response
        except urllib.error.HTTPError as error:
            error.close()
            answer = f"{error.code} {http.client.responses.get(error.code, '')}".strip()
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self.done():
                self._restart({})
                raise Retry("the remote file became shorter") from None
            if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in _PASSING:
                raise Retry(f"it answered {answer}", _pause_of(error.headers)) from None
            raise InputError(
                f"{self.host} answered {answer} for {self.name}: check the address, or fetch the "
                "file by hand."
            ) from None
        except (OSError, http.client.HTTPException, ValueError, Retry) as error:
            if watch.late:
                raise InputError(
                    f"{self.name} did not come from {self.host} in the {LONGEST_HOURS} hours that "
                    "a download may take: run again to go on where it stopped."
                ) from None
            if watch.cut:
                raise Retry(f"it sent less than {connecting.LOWEST_RATE} bytes a second") from None
            if isinstance(error, InputError | Retry):
                raise
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise InputError(
                    f"{self.host} showed a certificate that is not valid here "
                    f"({reason.verify_message}): check the address, the clock and the proxy."
                ) from None
            text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise Retry(checks.printable(text[:200])[:200].rstrip(".")) from None

    def _accept(self, response: http.client.HTTPResponse, origin: dict) -> int | None:
        """The length of the whole file that a response announces; starts anew if it must."""
        host, headers = self.host, response.headers
        if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise InputError(f"{host} answered {response.status} instead of 200 for a file.")
        if headers.get("Content-Encoding", "identity") != "identity":
            raise InputError(f"{host} compresses {self.name} on its way: use another URL.")
        if headers.get_content_type() == "text/html":
            raise InputError(
                f"{host} answered with a web page instead of {self.name}: check the address "
                "and whether this network wants a login."
            )
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            given = headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", given)
            expected = (self.done(), origin.get("total"))
            changed = _validator(headers) not in (None, origin.get("validator"))
            where = match and (int(match[1]), int(match[2]))
            if not match or not self.done() or where != expected or changed:
                self._restart({})
                raise Retry("it answered with something else than the missing rest")
            return int(match[2])
        length = headers.get("Content-Length", "")
        total = int(length) if re.fullmatch(r"\d{1,18}", length) else None
        self._check_total(total)
        md5 = headers.get("Content-MD5", "")
        self._restart({"validator": _validator(headers), "total": total, "md5": md5})
        return total

    def _check_total(self, total: int | None) -> None:
        if total is None and self.size is None:
            raise InputError(
                f"{self.host} does not say how long {self.name} is, so a cut would go unseen: "
                "give its size, or fetch it by hand."
            )
        if total == 0 and self.size is None:
            raise InputError(f"{self.host} has an empty file for {self.name}: check the address.")
        if total is not None and self.size not in (None, total):
            raise InputError(
                f"{self.host} has {self.name} with {total} bytes instead of {self.size}: check the "
                "address and the size you gave."
            )

    def _check_room(self, total: int | None) -> None:
        missing = (total or self.size or 0) - self.done()
        free = shutil.disk_usage(self.part.parent).free
        if missing > free:
            raise InputError(
                f"{self.part.parent} has {free >> 20} MB free of the {missing >> 20} MB that are "
                f"still to come of {self.name}: make room, or choose another folder."
            )

    def _copy(self, response: http.client.HTTPResponse, total: int | None) -> None:
        end = self.size if total is None else total
        assert end is not None, "checked by `_check_total`"
        while chunk := response.read1(_CHUNK):
            if self.done() + len(chunk) > end:
                self.discard()
                raise InputError(f"{self.name} is longer than the {end} bytes it should have.")
            self._write(chunk)
            if self.progress:
                self.progress(self.done(), end)
        if self.done() < end:
            raise Retry(f"the connection ended after {self.done()} of {end} bytes")

    def _write(self, chunk: bytes) -> None:
        try:
            while chunk:
                chunk = chunk[os.write(self.descriptor, chunk) :]
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise InputError(
                f"{self.part} cannot be written any further ({error.strerror}): "
                f"{'make room and run again' if full else 'choose another folder'}."
            ) from None

    # The part file, and the note of its origin.

    def _origin(self) -> dict:
        note = read_note(self.note)
        total, validator = note.get("total"), note.get("validator")
        good = re.fullmatch(r"[ -~]{1,500}", str(validator)) and type(total) in (int, type(None))
        return note if good and note.get("url") == self.url else {}

    def _restart(self, origin: dict) -> None:
        """Empties the part, then notes its origin; cut in between, the part is merely empty."""
        os.ftruncate(self.descriptor, 0)
        if origin:
            try:
                self.note.unlink(missing_ok=True)  # whatever it is, such as a named pipe
                self.note.write_text(json.dumps({"url": self.url} | origin))
            except OSError as error:
                raise InputError(f"{self.note} cannot be written: {error.strerror}.") from None

    def announced_md5(self) -> str | None:
        """The hash that some servers announce with the whole file."""
        try:
            md5 = base64.b64decode(self._origin().get("md5") or "", validate=True)
        except (ValueError, TypeError):
            return None
        return md5.hex() if len(md5) == _MD5_BYTES else None

    def discard(self) -> None:
        """Removes the part and its note."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def read_note(path: pathlib.Path) -> dict:
    """A JSON note about a file with the URL of its origin; empty if there is none, or a bad one."""
    try:
        note = json.loads(path.read_bytes()) if path.is_file() else {}
        return note if type(note["url"]) is str else {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _validator(headers) -> str | None:
    """The header by which a later request can name the same content; a weak ETag cannot."""
    tag = headers.get("ETag", "")
    return tag if re.fullmatch(r'"[!-~]*"', tag) else headers.get("Last-Modified")


def _pause_of(headers: Message) -> float:
    """Seconds until a server wants to be asked again: its Retry-After, a number or a date."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, when.timestamp() - time.time())
