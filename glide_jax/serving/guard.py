"""A guard before every route: who may ask, under which name, and how much may be sent."""

import asyncio
import hmac
import ipaddress
import json
import socket
import urllib.parse
from typing import Any

from glide_jax.serving.protocol import ApiError

_READ_SECONDS = 60.0  # in which a request's body has to be there
_LAST = {"Connection": "close"}  # else the rest of a body would be read, however long


class Guard:
    """An ASGI middleware that answers what must not reach a route.

    A browser sends the page's own name as Host, and as Origin when it posts. Another name means a
    page of somebody else's, which a name that points here (DNS rebinding) would let in.

    Args:
        app: the application.
        most: the largest body, in bytes.
        api_key: the key of requests under /v1; None asks for none.
        host: the address that is served, under whose names alone browsers may come; None allows
            every name.
    """

    def __init__(self, app: Any, *, most: int, api_key: str | None = None, host: str | None = None):
        self._app, self._most, self._host = app, most, host
        self._key = None if api_key is None else f"Bearer {api_key}".encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers, or hands a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wrong = self._wrong(scope["path"], dict(scope["headers"]))
        if wrong is not None:
            await _answer(send, wrong)
            return
        taken, more, ended = 0, True, None
        late = asyncio.get_running_loop().time() + _READ_SECONDS

        async def counted() -> Any:
            nonlocal taken, more, ended
            try:  # after the body there is only the client's end to wait for, however long
                async with asyncio.timeout_at(late if more else None):
                    message = await receive()
            except TimeoutError:
                wrong = f"the body did not come within {_READ_SECONDS:g} s."
                ended = ApiError(wrong, status=408, headers=_LAST)
                raise ended from None
            taken += len(message.get("body", b""))
            more = message.get("more_body", False)
            if taken > self._most:
                ended = _too_large(self._most)
                raise ended
            return message

        async def answered(message: dict[str, Any]) -> None:
            if ended is None:
                await send(message)
            elif message["type"] == "http.response.start":  # whatever the page makes of the error
                await _answer(send, ended)

        await self._app(scope, counted, answered)

    def _wrong(self, path: str, headers: dict[bytes, bytes]) -> ApiError | None:
        """Why a request is not handed on."""
        asked = headers.get(b"host", b"").decode("latin-1")
        if self._host is not None:
            if not is_of(_name_of(asked), self._host):
                return ApiError("this server does not answer under that name.", status=421)
            origin = headers.get(b"origin")  # "null" is a page of no known place
            if origin is not None and not self._may_ask(origin.decode("latin-1"), asked):
                return ApiError("pages of other sites cannot use this server.", status=403)
        if self._key is not None and path.startswith("/v1") and not path.startswith("/v1/files/"):
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, self._key):
                return ApiError(
                    "the API key is missing or wrong; send it as Authorization: Bearer KEY.",
                    status=401, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._most:
            return _too_large(self._most)
        return None

    def _may_ask(self, origin: str, asked: str) -> bool:
        """Whether a page is of this server; on a local one, whether it is of this machine."""
        place = origin.partition("://")[2]
        return place == asked or (is_local(self._host or "") and is_local(_name_of(place)))


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_of(name: str, host: str) -> bool:
    """Whether a name that a browser asked for is this machine's, and not one that points at it.

    Args:
        name: a name or number, without a port.
        host: the address that is served.
    """
    if name in ("localhost", host.lower()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback or not is_local(host)
    except ValueError:
        return not is_local(host) and name == socket.gethostname().lower()


def _name_of(netloc: str) -> str:
    """The name in HOST:PORT; the port may be forwarded from another."""
    try:
        parts = urllib.parse.urlsplit(f"//{netloc}")
        _ = parts.port  # which must be a number
        return (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""


def _too_large(most: int) -> ApiError:
    wrong = f"the body is too large; it may have {most} bytes."
    return ApiError(wrong, status=413, headers=_LAST)


async def _answer(send: Any, error: ApiError) -> None:
    body = json.dumps(error.body).encode()
    headers = {"content-type": "application/json", **_LAST, **(error.headers or {})}
    raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
