"""A page that shows two pictures and takes a vote, served by Python's own HTTP server."""

import html
import json
import pathlib
import urllib.parse
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from glide_jax.errors import InputError
from glide_jax.evaluation import draws, votes

_MOST_BYTES = 4096  # of a vote
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Which one?</title>
<style>body{{font:18px sans-serif;text-align:center;margin:2em}}
img{{width:min(40vw,420px);image-rendering:pixelated;margin:.5em}}
button{{font-size:1em;padding:.5em 1.5em;margin:.5em}}</style><body>
<p>{question}</p><p><em>{caption}</em></p>
<p><img alt="left" src="/image?run={a}&amp;i={i}">
<img alt="right" src="/image?run={b}&amp;i={i}"></p>
<form method="post" action="/vote"><input type="hidden" name="a" value="{a}">
<input type="hidden" name="b" value="{b}"><input type="hidden" name="i" value="{i}">
<input type="hidden" name="question" value="{key}">
<button name="answer" value="left">Left</button><button name="answer" value="tie">Tie</button>
<button name="answer" value="right">Right</button></form></body></html>
"""


def prompts_in_common(runs: Sequence[pathlib.Path]) -> list[str]:
    """The prompts of runs of one protocol, read from their pictures.

    Raises:
        InputError: a folder is no finished run, or the runs are of different prompts.
    """
    found = []
    for run in runs:
        try:
            result = json.loads((run / "result.json").read_text("utf-8"))
            found.append((result["prompts_sha256"], int(result["n"])))
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{str(run)!r} is no finished run of `glide-jax eval`.") from None
    if len(runs) < 2 or len(set(found)) != 1 or len({run.name for run in runs}) != len(runs):
        raise InputError("give two or more runs of the same prompts, in folders of other names.")
    from glide_jax import images

    parameters = [images.read_parameters(draws.path_of(runs[0], i)) for i in range(found[0][1])]
    return [str((p or {}).get("prompt", "")) for p in parameters]


def server(
    runs: Sequence[pathlib.Path], file: pathlib.Path, *, host: str = "127.0.0.1", port: int = 0
) -> ThreadingHTTPServer:
    """A server of the page; `serve_forever` runs it, and many may vote at once.

    Which run a picture is from is nowhere on the page but as a number whose order is the runs'.

    Args:
        runs: folders of finished runs.
        file: where votes are appended.
        host: to listen at; only this machine by default.
        port: 0 is any that is free.

    Raises:
        InputError: the runs do not fit together, or the port is taken.
    """
    prompts, rng = prompts_in_common(runs), np.random.default_rng()
    fields = {"runs": runs, "prompts": prompts, "file": file, "rng": rng}
    try:
        return ThreadingHTTPServer((host, port), type("Handler", (_Handler,), fields))
    except OSError as error:
        raise InputError(f"port {port} of {host!r} cannot be used: {error.strerror}.") from None


class _Handler(BaseHTTPRequestHandler):
    runs: Sequence[pathlib.Path]
    prompts: Sequence[str]
    file: pathlib.Path
    rng: np.random.Generator

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/":
            a, b, i, key = votes.pair([run.name for run in self.runs], len(self.prompts), self.rng)
            page = _PAGE.format(
                question=votes.QUESTIONS[key], key=key, a=a, b=b, i=i,
                caption=html.escape(self.prompts[i]),
            )  # fmt: skip
            return self.answer(200, page.encode(), "text/html; charset=utf-8")
        if url.path == "/image":
            fields = dict(urllib.parse.parse_qsl(url.query))
            run, i = _number(fields, "run", len(self.runs)), _number(fields, "i", len(self.prompts))
            path = None if None in (run, i) else draws.path_of(self.runs[run or 0], i or 0)
            if path is not None and path.exists():
                return self.answer(200, path.read_bytes(), "image/png")
        return self.answer(404, b"There is no such page.", "text/plain")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else _MOST_BYTES + 1
        if self.path != "/vote" or size > _MOST_BYTES:
            return self.answer(400, b"This is no vote.", "text/plain")
        fields = dict(urllib.parse.parse_qsl(self.rfile.read(size).decode("utf-8", "replace")))
        a, b = (_number(fields, key, len(self.runs)) for key in "ab")
        i = _number(fields, "i", len(self.prompts))
        if a is None or b is None or i is None:
            return self.answer(400, b"This is no vote.", "text/plain")
        voter = self.client_address[0]
        vote = votes.Vote(
            fields.get("question", ""),
            self.runs[a].name,
            self.runs[b].name,
            i,
            fields.get("answer", ""),
            voter,
        )
        try:
            votes.append(self.file, vote)
        except InputError as error:
            return self.answer(400, str(error).encode(), "text/plain; charset=utf-8")
        self.send_response(303)  # so that reloading does not vote again
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: only the command line prints."""


def _number(fields: dict[str, str], name: str, below: int) -> int | None:
    text = fields.get(name, "")
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else below
    return value if value < below else None
