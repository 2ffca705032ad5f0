"""A guard before every route: who may ask, under which name, and how much may be sent."""

import hmac
import json
import urllib.parse
from typing import Any

from glide_jax.serving.protocol import ApiError, Limits


class Guard:
    """An ASGI middleware that answers what must not reach a route.

    A browser sends the page's own name as Host, and as Origin when it posts; another one means a
    page of somebody else's, which a name that points here (DNS rebinding) would let in.

    Args:
        app: the application.
        limits: the largest body.
        api_key: the key of requests under /v1; None asks for none.
        hosts: names under which browsers may come; None allows every one.
    """

    def __init__(
        self,
        app: Any,
        *,
        limits: Limits,
        api_key: str | None,
        hosts: frozenset[str] | None,
    ):
        self._app, self._limits, self._hosts = app, limits, hosts
        self._key = None if api_key is None else f"Bearer {api_key}".encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers, or hands a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        wrong = self._wrong(scope["path"], headers)
        if wrong is not None:
            await _answer(send, wrong)
            return
        taken, most = 0, self._limits.body

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise _too_large(most)
            return message

        await self._app(scope, counted, send)

    def _wrong(self, path: str, headers: dict[bytes, bytes]) -> ApiError | None:
        """Why a request is not handed on."""
        if self._hosts is not None:
            names = [headers.get(b"host", b"")]
            if (origin := headers.get(b"origin")) is not None:  # "null" is a page of no known place
                names.append(origin.partition(b"://")[2])
            if any(_host_of(name.decode("latin-1")) not in self._hosts for name in names):
                return ApiError("this server does not answer under that name.", status=403)
        if self._key is not None and path.startswith("/v1") and not path.startswith("/v1/files/"):
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, self._key):
                return ApiError(
                    "the API key is missing or wrong; send it as Authorization: Bearer KEY.",
                    status=401, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._limits.body:
            return _too_large(self._limits.body)
        return None


def _host_of(netloc: str) -> str:
    """The name in HOST:PORT."""
    try:
        return urllib.parse.urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _too_large(most: int) -> ApiError:
    return ApiError(f"the body is too large; it may have {most} bytes.", status=413)


async def _answer(send: Any, error: ApiError) -> None:
    body = json.dumps(error.body).encode()
    headers = {"content-type": "application/json", **(error.headers or {})}
    raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    raw += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
