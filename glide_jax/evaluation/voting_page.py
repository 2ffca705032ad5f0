"""A page that shows two pictures and takes a vote, served by Python's own HTTP server."""

import html
import pathlib
import string
import urllib.parse
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

import numpy as np

from glide_jax import images
from glide_jax.errors import InputError
from glide_jax.evaluation import draws, votes

_MOST_BYTES = 4096  # the largest vote that is read
_NO_VOTE = b"This is no vote."


def _prompts_in_common(runs: Sequence[pathlib.Path]) -> list[str]:
    """The prompts of runs of one protocol, read from their pictures."""
    results = [draws.finished_result(run) for run in runs]
    same = len({(result["prompts_sha256"], result["n"]) for result in results}) == 1
    if len(runs) < 2 or not same or len({run.name for run in runs}) != len(runs):
        raise InputError("give two or more runs of the same prompts, in folders of other names.")
    paths = [draws.path_of(runs[0], i) for i in range(results[0]["n"])]
    return [str((images.read_parameters(path) or {}).get("prompt", "")) for path in paths]


def voting_server(
    runs: Sequence[pathlib.Path], file: pathlib.Path, *, host: str = "127.0.0.1", port: int = 0
) -> ThreadingHTTPServer:
    """A server of the page; `serve_forever` runs it, and many may vote at once.

    Pictures are named on the page only by their run's number in the order of `runs`.

    Args:
        runs: folders of finished runs.
        file: where votes are appended.
        host: the address to listen at; only this machine by default.
        port: 0 is any that is free.

    Raises:
        InputError: a folder is no finished run, the runs are of different prompts, or the port is
            taken.
    """
    page = (resources.files("glide_jax.evaluation") / "voting_page.html").read_text("utf-8")
    fields = {
        "runs": runs,
        "prompts": _prompts_in_common(runs),
        "file": file,
        "rng": np.random.default_rng(),
        "page": string.Template(page),
    }
    try:
        return ThreadingHTTPServer((host, port), type("Handler", (_Handler,), fields))
    except OSError as error:
        raise InputError(f"port {port} of {host!r} cannot be used: {error.strerror}.") from None


class _Handler(BaseHTTPRequestHandler):
    runs: Sequence[pathlib.Path]
    prompts: Sequence[str]
    file: pathlib.Path
    rng: np.random.Generator
    page: string.Template

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/":
            a, b = self.rng.choice(len(self.runs), 2, replace=False).tolist()
            i, key = int(self.rng.integers(len(self.prompts))), self.rng.choice([*votes.QUESTIONS])
            page = self.page.substitute(
                question=votes.QUESTIONS[key], key=key, a=a, b=b, i=i,
                caption=html.escape(self.prompts[i]),
            )  # fmt: skip
            return self.answer(200, page.encode(), "text/html; charset=utf-8")
        if url.path == "/image":
            fields = dict(urllib.parse.parse_qsl(url.query))
            run, i = _number(fields, "run", len(self.runs)), _number(fields, "i", len(self.prompts))
            if run is not None and i is not None:
                path = draws.path_of(self.runs[run], i)
                if path.exists():
                    return self.answer(200, path.read_bytes(), "image/png")
        return self.answer(404, b"There is no such page.")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else _MOST_BYTES + 1
        if self.path != "/vote" or size > _MOST_BYTES:
            return self.answer(400, _NO_VOTE)
        fields = dict(urllib.parse.parse_qsl(self.rfile.read(size).decode("utf-8", "replace")))
        a, b = (_number(fields, key, len(self.runs)) for key in "ab")
        i = _number(fields, "i", len(self.prompts))
        if a is None or b is None or i is None:
            return self.answer(400, _NO_VOTE)
        question, answer = fields.get("question", ""), fields.get("answer", "")
        left, right, voter = self.runs[a].name, self.runs[b].name, self.client_address[0]
        try:
            votes.append_vote(self.file, votes.Vote(question, left, right, i, answer, voter))
        except InputError as error:
            return self.answer(400, str(error).encode())
        self.send_response(303)  # so that reloading does not vote again
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing: only the command line prints."""


def _number(fields: dict[str, str], name: str, below: int) -> int | None:
    text = fields.get(name, "")
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else below
    return value if value < below else None
