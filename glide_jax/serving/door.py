"""The way to the page: the key, and the few paths and hosts that the page needs."""

import hashlib
import hmac
import http.cookies
import logging
import urllib.parse
from typing import Any

from glide_jax import checks

_LOG = logging.getLogger(__name__)

COOKIE = "glide_jax_key"
LOGIN = "/enter"
_MOST_BYTES = 4096  # a form with a key has fewer
_API = ("/v1", "/health", "/metrics", "/openapi.json")  # Guard's
_DAYS = 30
# What the page asks for; the rest of Gradio, such as proxies and histories, is not to be reached.
_PATHS = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
_FOLDERS = ("/assets/", "/static/", "/gradio_api/file=/")
_CALLS = (
    "queue/join", "queue/data", "upload", "upload_progress", "heartbeat/", "cancel", "reset",
    "component_server", "startup-events", "run/predict", "theme.css", "login_check", "app_id",
)  # fmt: skip
_HEADERS = {
    # The browser itself keeps the page from every other host. Pixi, which draws the editor, makes
    # functions of texts.
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'none'; object-src 'none'; "
        "style-src 'self' 'unsafe-inline'; font-src 'self' data:; worker-src 'self' blob:; "
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "connect-src 'self' data: blob:; form-action 'self'; base-uri 'self'; "
        "frame-ancestors 'none'"
    ),
    # Under no-referrer the form's Origin would be "null", which is refused as a stranger's.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
_FORM = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>glide_jax</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center;
  min-height: 90vh; margin: 0; }}
form {{ display: grid; gap: 12px; width: min(320px, 86vw); }}
input, button {{ font: inherit; padding: 10px 12px; border-radius: 8px; border: 1px solid #8888; }}
button {{ background: #2563eb; color: white; border: 0; cursor: pointer; }}
p {{ margin: 0; }} .wrong {{ color: #d33; }}
</style></head><body><form method="post" action="{login}">
<p>This server asks for its key.</p>{wrong}
<input type="password" name="key" aria-label="Key" placeholder="API key" autofocus required>
<button>Enter</button></form></body></html>"""


class Door:
    """An ASGI middleware before the page.

    With an API key a visitor gives it once; a cookie then holds a digest of it, which scripts and
    other sites do not see.

    Args:
        app: the application of the API.
        page: the page's application.
        api_key: the key; None asks for none.
    """

    def __init__(self, app: Any, *, page: Any, api_key: str | None):
        self._app, self._page, self._key = app, page, api_key
        digest = hmac.new((api_key or "").encode(), b"glide_jax page", hashlib.sha256)
        self._pass = None if api_key is None else digest.hexdigest()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers, or hands a request on."""
        if scope["type"] != "http" or scope["path"].startswith(_API):
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if path == LOGIN and method == "POST" and self._key is not None:
            await self._enter(receive, send)
        elif not self._knows(scope):
            status = 401 if path == "/" else 403
            await _answer(send, status, _FORM.format(login=LOGIN, wrong=""))
        elif not _needed(path):
            await _answer(send, 404, "There is nothing here.")
        else:

            async def with_headers(message: dict[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], *_raw(_HEADERS)]}
                await send(message)

            try:
                await self._page(scope, receive, with_headers)
            except Exception as error:  # Gradio comes to any where no page makes the request
                shown = checks.printable(path, 200), checks.printable(repr(error), 300)
                _LOG.warning("the page could not answer %s: %s", *shown)

    def _knows(self, scope: dict[str, Any]) -> bool:
        """Whether a visitor has given the key, or needs none."""
        if self._pass is None:
            return True
        jar = http.cookies.SimpleCookie()
        try:
            jar.load(dict(scope["headers"]).get(b"cookie", b"").decode("latin-1"))
        except http.cookies.CookieError:
            return False
        given = jar[COOKIE].value if COOKIE in jar else ""
        return hmac.compare_digest(given.encode(), self._pass.encode())

    async def _enter(self, receive: Any, send: Any) -> None:
        """Lets a visitor with the key in."""
        body, more = b"", True
        while more and len(body) <= _MOST_BYTES:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        fields = urllib.parse.parse_qs(body[:_MOST_BYTES].decode("latin-1"))
        given = fields.get("key", [""])[0]
        if not hmac.compare_digest(given.encode(), (self._key or "").encode()):
            wrong = '<p class="wrong">That is not the key.</p>'
            await _answer(send, 401, _FORM.format(login=LOGIN, wrong=wrong))
            return
        cookie = (
            f"{COOKIE}={self._pass}; Path=/; HttpOnly; SameSite=Strict; Max-Age={_DAYS * 86400}"
        )
        await _answer(send, 303, "", {"location": "/", "set-cookie": cookie})


def _needed(path: str) -> bool:
    """Whether the page asks for a path."""
    if path in _PATHS or path.startswith(_FOLDERS):
        return True
    return path.startswith("/gradio_api/") and path[len("/gradio_api/") :].startswith(_CALLS)


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


async def _answer(send: Any, status: int, page: str, more: dict[str, str] | None = None) -> None:
    body = page.encode()
    headers = {"content-type": "text/html; charset=utf-8", "content-length": str(len(body))}
    headers |= {**_HEADERS, "cache-control": "no-store", **(more or {})}
    await send({"type": "http.response.start", "status": status, "headers": _raw(headers)})
    await send({"type": "http.response.body", "body": body})
