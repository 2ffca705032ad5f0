"""Hostile requests by kind, made from a seed: fields, bodies, framing, heads, the page's routes."""

import json
import random
import re
from collections.abc import Callable

from tests import fuzz
from tests.serving.wire import Shot, request

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
VARIATIONS, REPEAT = "/v1/images/variations", "/v1/repeat"
FORMS = (EDITS, VARIATIONS, REPEAT)
JSON = b"Content-Type: application/json"
GOOD = {
    "prompt": "a red circle", "n": 1, "size": "16x16", "seed": 7,
    "response_format": "b64_json", "output_format": "png", "output_compression": 50,
    "stream": False, "partial_images": 0, "user": "me", "negative_prompt": "blue",
    "num_inference_steps": 1, "guidance_scale": 2.0, "sampler": "ddim", "preset": "fast",
}  # fmt: skip
FIELDS = (*GOOD, "model", "strength", "image", "mask", "quality", "steps", "__class__", "")
# Values as JSON: words, numbers, texts, and what holds others.
VALUES = (
    *(b"null true false 0 -0 -1 1 2 3 1e0 1.5 -1.5 1e-400 1e308 1e999 -1e999 NaN".split()),
    *(b"-Infinity 4294967295 4294967296 9223372036854775808 1e19".split()),
    *(b"9" * digits for digits in (20, 400, 4299, 4301, 100_000)),
    *(b'"%s"' % text for text in (
        b"", b" ", b"1", b" 1 ", b"1.0", b"+1", b"1_0", b"0x1", b"1e3", b"nan", b"true", b"None",
        b"auto", b"16x16", b"32x32", b"0x0", b"99999x99999", b"16X16", b"16x16x16", b"-1x-1",
        b"png", b"PNG", b"webp", b"jpeg", b"url", b"ddpm", b"ddim", b"fast", b"plain",
        b"\\ud800", b"\\udfff\\ud800", b"a\\u0000b", b"\\u2028", b"\\u202e", b"\\r\\n\\r\\nX: y",
        b"\\u001b[31m", b"\\ufeff", b"\\uffff", b"\\ud83d\\ude00", "é\u0301\U0001f468".encode(),
        b"../../etc/passwd", b"file:///etc/passwd", b"http://localhost/", b"%s%n{0}{}${7*7}{{7}}",
        b"<script>alert(1)</script>", b"'; DROP TABLE x; --", b"\xff\xfe", b"\xed\xa0\x80",
        "١٢".encode(), b"a" * 200, b"a" * 201, b"a " * 5000, "\U0001f468\u200d".encode() * 500,
    )),
    b"[]", b"{}", b"[1]", b'["16x16"]', b'{"a": 1}', b"[[[[]]]]", b'[null, "x", {}]',
)  # fmt: skip
DEPTHS = (1, 10, 100, 300, 500, 900, 960, 990, 1000, 1500, 5000, 20_000, 100_000)


def _json(rng: random.Random, body: bytes, kind: bytes = JSON) -> Shot:
    return Shot(request("POST", GENERATIONS, body, [kind]))


def _object(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"{" + b", ".join(b"%s: %s" % pair for pair in pairs) + b"}"


def _good_pairs(rng: random.Random) -> list[tuple[bytes, bytes]]:
    """Fields that are right, the steps among them, so that a picture is soon drawn."""
    names = {"prompt", "num_inference_steps", *rng.sample(sorted(GOOD), rng.randrange(6))}
    return [(json.dumps(name).encode(), json.dumps(GOOD[name]).encode()) for name in sorted(names)]


def json_values(rng: random.Random) -> Shot:
    """One to three fields with values of any kind, some of them there twice or unknown."""
    pairs = _good_pairs(rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name = (
            json.dumps(rng.choice(FIELDS)).encode() if rng.random() < 0.9 else b'"\\ud800\\u0000"'
        )
        if rng.random() < 0.8:
            pairs = [pair for pair in pairs if pair[0] != name]
        pairs.insert(rng.randrange(len(pairs) + 1), (name, rng.choice(VALUES)))
    return _json(rng, _object(pairs))


def json_damaged(rng: random.Random) -> Shot:
    """A good object with damage."""
    return _json(rng, fuzz.mutate(_object(_good_pairs(rng)), rng))


def json_deep(rng: random.Random) -> Shot:
    """Nesting around every limit of recursion, alone or as a field."""
    depth = max(1, rng.choice(DEPTHS) + rng.randrange(-40, 40))
    begin, end = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")))
    value = begin * depth + b"1" + end * rng.choice((depth, depth, depth, 0))
    name = json.dumps(rng.choice(FIELDS)).encode()
    return _json(rng, rng.choice((value, _object([*_good_pairs(rng), (name, value)]))))


def json_coded(rng: random.Random) -> Shot:
    """Other codings, marks of byte order, types and ends."""
    text = _object(_good_pairs(rng)).decode()
    coding = rng.choice(
        ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be", "utf-7", "cp037")
    )
    body = rng.choice((b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b" ")) + text.encode(coding)
    kinds = (
        b"Content-Type: text/plain", b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Type: multipart/form-data; boundary=x", b"X: y", b"Content-Type:",
        b"Content-Type: application/json; charset=utf-16", b"Content-Encoding: gzip", JSON,
    )  # fmt: skip
    return _json(rng, body + rng.choice((b"", b"\x00", b"{}", b"garbage")), rng.choice(kinds))


def json_long(rng: random.Random) -> Shot:
    """Texts, keys and lists of up to a megabyte."""
    size = rng.choice((10_000, 100_000, 900_000))
    unit = rng.choice((b"a", b"\\u0000", b"\\ud800", "é".encode(), b"\\\\", b"[],"))
    text = b'"%s"' % (unit * (size // len(unit)))
    value = rng.choice(
        (text, b"[%s]" % b", ".join([b"0"] * (size // 3)), b"%s" % (b" " * size + b"1"))
    )
    keys = b", ".join(b'"k%d": 0' % k for k in range(size // 12))
    name = json.dumps(rng.choice(FIELDS)).encode()
    pairs = [*_good_pairs(rng), (name, value)]
    body = rng.choice((_object(pairs), _object([(text, b"1")]), b"{%s}" % keys, text))
    return _json(rng, body)


def length(rng: random.Random) -> Shot:
    """A Content-Length that lies, or is none."""
    body = _object(_good_pairs(rng))
    real = len(body)
    value = rng.choice((
        b"%d" % (real + rng.randrange(1, 1000)), b"%d" % rng.randrange(real), b"-1", b"-%d" % real,
        b"+%d" % real, b"%d, %d" % (real, real), b"%d, %d" % (real, real + 1), b"0x%x" % real,
        b"%d.0" % real, b"", b" ", b"1e3", b"\xd9\xa1", b"9" * 19, b"9" * 20, b"9" * 5000,
        b"%d" % (1 << 30), b"%d" % (1 << 64), b"0%d" % real, b"%d\r\nContent-Length: %d" % (real,
        real),
        b"%d\r\nContent-Length: %d" % (real, real + 5), b"0\r\nTransfer-Encoding: chunked",
        b"%d\r\nTransfer-Encoding: chunked" % real, b"%d\r\nTransfer-Encoding: identity" % real,
        b"%d\r\nTransfer-Encoding : chunked" % real, b"%d\r\n Transfer-Encoding: chunked" % real,
    ))  # fmt: skip
    path = rng.choice((GENERATIONS, EDITS, REPEAT, "/v1/nothing", "/gradio_api/upload"))
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: " % path.encode()
    return Shot(head + value + b"\r\n\r\n" + body, answers=0, page=_gradios(path))


def chunked(rng: random.Random) -> Shot:
    """Chunks of sizes that lie, with endings, extensions and trailers of every kind."""
    body = _object(_good_pairs(rng))
    coding = rng.choice((b"chunked",) * 6 + (
        b"Chunked", b"chunked, chunked", b"gzip, chunked", b"gzip", b"identity", b"\x0bchunked",
        b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\nContent-Length: 5", b"xchunked",
    ))  # fmt: skip
    out = b"POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: " % GENERATIONS.encode()
    out += coding + b"\r\n\r\n"
    while body:
        part, body = body[: (n := rng.randrange(1, 40))], body[n:]
        size = rng.choice((b"%x" % len(part),) * 150 + (
            b"%X" % len(part), b"0%x" % len(part), b"-1", b"", b"g", b"0x5", b"f" * 16, b"f" * 17,
            b"f" * 5000, b"%x;a=b" % len(part), b"%x;%s" % (len(part), b"a" * 70_000),
            b"%x " % len(part), b"%x\r\n\r\n" % len(part), b"7fffffff", b"ffffffffffffffff",
        ))  # fmt: skip
        ends = (b"\r\n",) * 80 + (b"\n", b"\r", b"", b"\r\n\r\n", b"xx")
        out += size + rng.choice(ends) + part + rng.choice(ends)
    end = (
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"0\r\n",
        b"",
        b"0\r\nHost: evil\r\n\r\n",
        b"00\r\n\r\n",
    )
    return Shot(out + rng.choice(end), answers=0)


PATHS = (
    "/", "/v1", "/v1/", "/v1/models", "/v1/models/", "/v1/models/plain", "/v1/models/%00",
    "/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/" + "a" * 3000, "/v1/models/%ff%fe",
    "/v1/files/x", "/v1/files/../../etc/passwd", "/v1/files/%2e%2e/x", "/v1/files/", "/health",
    "/health/", "/HEALTH", "/metrics", "/openapi.json", "/docs", "/redoc", GENERATIONS, *FORMS,
    GENERATIONS + "/", "//v1/images/generations", "/v1//images/generations", "/v1/%69mages/edits",
    "/v1/images/generations;x=y", "/v1/images/generations?n=5&n=6&%00=%ff", "/%00", "/..", "/.",
    "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5c", "//evil.example/%2f..",
    "///", "/[", "/]", "/%5b::1", "/\\", "/{name}", "/%", "/%zz", "/%u0041", "/%c0%ae%c0%ae/",
    "/%e2%80%ae", "/%0d%0aX:%20y", "/#x", "/?", "/?" + "a=b&" * 2000, "/" + "a/" * 3000,
    "/.git/config", "/.env", "/wp-login.php", "/cgi-bin/test", "/enter", "/config", "/favicon.ico",
    "*", "health", "[", "x[", "http://localhost/health", "http://evil.example/health",
    "http://[::1/health", "https://u:p@localhost:9/health", "localhost:80", "?", "#", "/\x7f", "/é",
)  # fmt: skip
METHODS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI"),
    *("get", "Get", "PROPFIND", "BREW", "G" * 300, "M-SEARCH", "!", "GET\x00", "G ET", ""),
)


def odd_paths(rng: random.Random) -> Shot:
    """Every path with every method."""
    method, path = rng.choice(METHODS[:11]), rng.choice(PATHS)
    body = rng.choice((b"", b"", b"{}", b"x" * 100)) if method != "CONNECT" else b""
    return Shot(request(method, path, body), page=_gradios(path))


def _gradios(path: str) -> bool:
    """Whether a path may be the page's on a server that has one."""
    return not path.startswith(("/v1", "/health", "/metrics"))


def odd_heads(rng: random.Random) -> Shot:
    """Heads that no client sends."""
    line = b"%s %s %s" % (
        rng.choice(METHODS).encode(), rng.choice(("/health", "/v1/models", GENERATIONS)).encode(),
        rng.choice((b"HTTP/1.1",) * 9 + (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"",
                                         b"HTTP/1.1 x", b"http/1.1", b"ICY", b"HTTP/1.10")),
    )  # fmt: skip
    hosts = (
        b"Host: localhost", b"Host: 127.0.0.1:1", b"Host: [::1]", b"", b"Host:", b"Host: evil",
        b"Host: [", b"Host: [::1", b"Host: localhost\r\nHost: evil", b"Host: localhost:99999999",
        b"Host: localhost:x", b"Host: user@localhost", b"Host: localhost/../evil", b"Host: \xff",
        b"Host: localhost, evil", b"Host: LOCALHOST", b"Host: localhost.", b"Host: " + b"a" * 9000,
    )  # fmt: skip
    odd = (
        b"X: " + b"a" * 70_000, b"\r\n".join(b"X-%d: y" % k for k in range(3000)), b"X: a\x00b",
        b"X : y", b": y", b"X", b"X:\r\n folded", b"X: a\nY: b", b"X: a\rY: b", b" X: y",
        b"\xff: y",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n"
        b"Sec-WebSocket-Version: 13", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", b"Expect: 100-continue", b"Expect: 200-ok",
        b"Connection: close", b"Connection: keep-alive, close, x", b"Connection: " + b"x," * 9000,
        b"Authorization: Bearer", b"Authorization: Bearer \xff\xfe", b"Authorization: Basic Og==",
        b"Cookie: glide_jax_key=\xff; $Path=x; =; ;;", b"Cookie: " + b"a=b;" * 5000,
        b"Accept-Encoding: gzip, br, x;q=9", b"Accept: " + b"*/*," * 2000, b"Range: bytes=-1,0-",
        b"Origin: http://localhost:1", b"Origin: null", b"Origin: http://[", b"Origin: \xff",
        b"Forwarded: for=\"_x\"", b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-Host: evil",
        b"X-Forwarded-Proto: \xff", b"X-Original-URL: /metrics", b"X-HTTP-Method-Override: POST",
        b"If-None-Match: *", b"TE: trailers", b"Max-Forwards: -1", b"Content-Type: \xff",
    )  # fmt: skip
    lines = [line, *(rng.choice(hosts[:3] if rng.random() < 0.7 else hosts),)]
    lines += rng.sample(odd, rng.choice((0, 1, 1, 2, 3)))
    ends = (b"\r\n",) * 8 + (b"\n", b"\r", b"\r\n ")
    raw = rng.choice(ends).join(part for part in lines if part or rng.random() < 0.3)
    return Shot(raw + rng.choice((b"\r\n\r\n",) * 8 + (b"", b"\r\n", b"\n\n")), answers=0)


NO_HTTP = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    b"\x00" * 1000, b"\xff" * 1000, b"\r\n" * 500, b"\n" * 500, b"SSH-2.0-x\r\n", b"A" * 100_000,
    b"GET " + b"/" * 100_000, b"*1\r\n$4\r\nINFO\r\n", b"\x05\x01\x00",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
    b"\x80\x2e\x01\x03\x01", b"EHLO x\r\n", b"\x03\x00\x00\x13\x0e\xe0", b"{}", b"GET / HTTP/1.1",
)  # fmt: skip


def no_http(rng: random.Random) -> Shot:
    """Other protocols, noise, and a good request with damage anywhere."""
    good = request("POST", GENERATIONS, _object(_good_pairs(rng)), [JSON])
    kinds = (
        lambda: rng.choice(NO_HTTP),
        lambda: rng.randbytes(rng.randrange(1, 3000)),
        lambda: fuzz.mutate(good, rng),
        lambda: fuzz.mutate(request("GET", rng.choice(PATHS)), rng),
        lambda: good[: rng.randrange(len(good))],
    )
    return Shot(rng.choice(kinds)(), answers=0, page=True)


def pipelined(rng: random.Random) -> Shot:
    """Several requests at once, which are answered in their order."""
    good = lambda: request("POST", GENERATIONS, _object(_good_pairs(rng)), [JSON])
    kinds = (
        good, lambda: request("GET", "/health"), lambda: request("GET", "/v1/models"),
        lambda: request("POST", GENERATIONS, b"[]"), lambda: request("GET", "/v1/nothing"),
        lambda: request("POST", EDITS, b"x", [b"Content-Type: multipart/form-data"]),
        lambda: request("OPTIONS", "/v1/models"), lambda: request("GET", "/metrics"),
    )  # fmt: skip
    parts = [rng.choice(kinds)() for _ in range(rng.randrange(2, 8))]
    if rng.random() < 0.3:  # such as damage in the middle of the row
        return Shot(fuzz.mutate(b"".join(parts), rng), answers=0, page=True)
    return Shot(b"".join(parts), answers=len(parts))


PAGE = (
    "/gradio_api/upload", "/gradio_api/upload?upload_id=x", "/gradio_api/queue/join",
    "/gradio_api/queue/data?session_hash=x", "/gradio_api/queue/data", "/gradio_api/cancel",
    "/gradio_api/reset", "/gradio_api/component_server", "/gradio_api/heartbeat/x",
    "/gradio_api/upload_progress?upload_id=x", "/gradio_api/upload_progress", "/config",
    "/theme.css",
    "/gradio_api/startup-events", "/gradio_api/run/predict", "/gradio_api/run/predict/",
    "/gradio_api/login_check", "/gradio_api/app_id", "/gradio_api/theme.css", "/enter",
    "/gradio_api/info", "/gradio_api/call/draw", "/gradio_api/proxy=http://localhost/", "/login",
    "/gradio_api/file=/etc/passwd", "/gradio_api/file=/proc/self/environ", "/gradio_api/file=/",
    "/gradio_api/file=/tmp/../etc/passwd", "/gradio_api/file=/%2e%2e/etc/passwd", "/monitoring",
    "/gradio_api/file=/tmp/gradio/%00", "/gradio_api/file=//etc/passwd", "/gradio_api/file=/\\x",
    "/gradio_api/file=/" + "a" * 5000, "/gradio_api/file=/tmp/" + "a/" * 2000, "/gradio_api/file=",
    "/gradio_api/file=/http://localhost/", "/gradio_api/stream/x/y/z/playlist.m3u8", "/static/",
    "/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/x", "/assets/../x", "/assets/%00",
    "/assets/",
    "/static/fonts/..%2f..%2f", "/robots.txt", "/manifest.json", "/favicon.ico", "/?__theme=dark",
    "/?view=api", "/?" + "x=" * 3000, "/config?%00", "/gradio_api/dev/reload", "/svelte/x",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"[]", b"null", b"x", b'{"data": [], "fn_index": 0, "session_hash": "x"}',
    b'{"data": null, "fn_index": -1}', b'{"fn_index": 99999, "data": [1]}', b'{"event_id": "x"}',
    b'{"data": ["x"], "fn_index": "0", "session_hash": null, "trigger_id": 1e999}',
    b'{"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}], "fn_index": %d, '
    b'"session_hash": "y"}', b'{"component_id": 1, "fn_name": "__init__", "data": [], '
    b'"session_hash": "x"}', b'{"component_id": %d, "fn_name": "ls", "data": ["/etc"]}',
    b'{"session_hash": "x", "fn_index": %d, "event_id": "../x"}', b"key=x&key=y&%ff=%00",
    b'{"data": ' + b"[" * 900 + b"]" * 900 + b', "fn_index": %d, "session_hash": "z"}',
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="a\xff.png"\r\n\r\nx\r\n--x--',
    b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n--x--',
    b'{"data": [%d, "x", null], "fn_index": %d, "session_hash": "y", "trigger_id": 5}',
    b'{"simple_format": true, "api_name": "predict", "data": ["\\ud800"]}',
)  # fmt: skip


def page(rng: random.Random) -> Shot:
    """The page's routes, and what of Gradio is not to be reached."""
    body = rng.choice(BODIES)
    while b"%d" in body:  # the number of a function, or of a part of the page
        body = body.replace(b"%d", b"%d" % rng.randrange(60), 1)
    if rng.random() < 0.2:
        body = fuzz.mutate(body or b"{}", rng)
    kinds = (
        JSON, JSON, JSON, JSON, b"Content-Type: multipart/form-data; boundary=x",
        b"Content-Type: text/html", b"Content-Type: application/x-www-form-urlencoded",
    )  # fmt: skip
    path = rng.choice(PAGE)
    method = (
        "POST" if re.search("upload(?!_)|join|cancel|reset|server|run/|call|enter", path) else "GET"
    )
    if rng.random() < 0.2:
        method = rng.choice(METHODS[:8])
    endless = re.search("heartbeat|queue/data|upload_progress", path) and method == "GET"
    kind = kinds[4] if body.startswith(b"--") else rng.choice(kinds)
    shot = request(method, path, body, [kind])
    return Shot(shot, answers=0 if endless else 1, page=True)


KINDS: dict[str, Callable[[random.Random], Shot]] = {
    kind.__name__: kind
    for kind in (json_values, json_damaged, json_deep, json_coded, json_long, length, chunked,
                 odd_paths, odd_heads, no_http, pipelined, page)
}  # fmt: skip
