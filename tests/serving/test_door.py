"""The key of the page, and what is not to be reached."""

import asyncio

import pytest

from glide_jax.serving import door

KEY = "a key"


async def _inner(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def ask(path, *, key=KEY, method="GET", cookie="", body=b""):
    """Status, headers and body of an answer."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "path": path, "method": method,
        "headers": [(b"cookie", cookie.encode())] if cookie else [],
    }  # fmt: skip
    asyncio.run(door.Door(_inner, page=_inner, api_key=key)(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, sent[1]["body"].decode()


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/upload", "/assets/x.js"])
def test_a_visitor_without_the_key_gets_the_form(path):
    for cookie in ("", f"{door.COOKIE}=wrong", f"{door.COOKIE}={KEY}", "\u00ff=;;"):
        status, _, body = ask(path, cookie=cookie)
        assert status in (401, 403)
        assert "asks for its key" in body


def test_the_key_lets_in_by_a_cookie_that_is_not_the_key():
    status, headers, _ = ask("/enter", method="POST", body=b"key=a+key")
    assert status == 303
    cookie = headers["set-cookie"]
    assert KEY not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ask("/", cookie=cookie.split(";")[0])[0] == 200
    status, headers, body = ask("/enter", method="POST", body=b"key=another")
    assert status == 401
    assert "not the key" in body
    assert "set-cookie" not in headers


def test_the_api_is_the_guard_s_and_no_key_asks_for_none():
    assert ask("/v1/models")[2] == "/v1/models"
    assert ask("/", key=None)[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/proxy=http://a/", "/gradio_api/file=http://a/", "/monitoring", "/enter",
     "/gradio_api/runs", "/gradio_api/info", "/login", "/gradio_api/call/x", "/etc/passwd"],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(path):
    assert ask(path, key=None)[0] == 404


def test_the_browser_is_kept_from_other_hosts():
    policy = ask("/", key=None)[1]["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
