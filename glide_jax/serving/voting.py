"""A page that shows two pictures of one prompt and takes a vote."""

import asyncio
import contextlib
import html
import pathlib
import string
import urllib.parse
from collections.abc import Callable, Sequence
from importlib import resources

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from glide_jax import checks, images
from glide_jax.errors import InputError
from glide_jax.evaluation import draws, votes
from glide_jax.serving import faults
from glide_jax.serving.guard import Guard
from glide_jax.serving.protocol import ApiError

_MOST_BYTES = 4096  # the largest vote that is read
_NO_STORE = {"Cache-Control": "no-store"}
_NO_VOTE = "this is no vote."


def voting_app(
    runs: Sequence[pathlib.Path],
    file: pathlib.Path,
    *,
    host: str = "127.0.0.1",
    note: Callable[[str], None] = lambda text: None,
) -> FastAPI:
    """The application of the page; many may vote at once, also through several with one file.

    Pictures are named on the page only by their run's number in the order of `runs`. Pages of
    other sites can neither vote nor read: the name that a browser asks for must be this machine's.

    Args:
        runs: folders of finished runs.
        file: where votes are appended.
        host: the address that is served.
        note: receives a sentence if the file had to be mended.

    Raises:
        InputError: a folder is no finished run, or the runs are of different prompts.
    """
    ballot = _Ballot(runs, file, note)
    app = FastAPI(openapi_url=None)
    app.add_api_route("/", ballot.page)
    app.add_api_route("/image", ballot.image)
    app.add_api_route("/vote", ballot.vote, methods=["POST"])
    faults.add_to(app)
    app.add_middleware(Guard, most=_MOST_BYTES, host=host)
    return app


class _Ballot:
    """The routes and what they share."""

    def __init__(
        self, runs: Sequence[pathlib.Path], file: pathlib.Path, note: Callable[[str], None]
    ):
        self._runs, self._file, self._note = runs, file, note
        self._prompts = _prompts_in_common(runs)
        self._rng = np.random.default_rng()
        text = (resources.files("glide_jax.serving") / "voting.html").read_text("utf-8")
        self._page = string.Template(text)

    async def page(self) -> Response:
        """A question about two pictures."""
        a, b = self._rng.choice(len(self._runs), 2, replace=False).tolist()
        i, key = int(self._rng.integers(len(self._prompts))), self._rng.choice([*votes.QUESTIONS])
        page = self._page.substitute(
            question=votes.QUESTIONS[key], key=key, a=a, b=b, i=i,
            caption=html.escape(checks.printable(self._prompts[i])),
        )  # fmt: skip
        return HTMLResponse(page.encode("utf-8", "backslashreplace"), headers=_NO_STORE)

    def image(self, request: Request) -> Response:
        """A picture of a run."""
        fields = request.query_params
        run = _number(fields.get("run"), len(self._runs))
        i = _number(fields.get("i"), len(self._prompts))
        if run is not None and i is not None:
            with contextlib.suppress(OSError):
                picture = draws.path_of(self._runs[run], i).read_bytes()
                return Response(picture, media_type="image/png", headers=_NO_STORE)
        raise ApiError("there is no such picture.", status=404)

    async def vote(self, request: Request) -> Response:
        """Keeps a vote, which is on the disk before it is answered."""
        body = (await request.body()).decode("utf-8", "replace")
        fields = dict(urllib.parse.parse_qsl(body))
        a, b = (_number(fields.get(key), len(self._runs)) for key in "ab")
        i = _number(fields.get("i"), len(self._prompts))
        if a is None or b is None or i is None:
            raise ApiError(_NO_VOTE)
        question, answer = fields.get("question", ""), fields.get("answer", "")
        left, right = self._runs[a].name, self._runs[b].name
        voter = request.client.host if request.client else ""
        vote = votes.Vote(question, left, right, i, answer, voter)
        try:
            await asyncio.to_thread(votes.append_vote, self._file, vote, self._note)
        except InputError as error:
            raise ApiError(str(error)) from None
        except OSError as error:
            why = f"this vote could not be kept: {error.strerror}."
            raise ApiError(why, status=507) from None
        return RedirectResponse("/", 303)  # so that reloading does not vote again


def _number(text: str | None, below: int) -> int | None:
    """The whole number of a field, if it is one below a bound."""
    text = text or ""
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else below
    return value if value < below else None


def _prompts_in_common(runs: Sequence[pathlib.Path]) -> list[str]:
    """The prompts of runs of one protocol, read from their pictures."""
    results = [draws.finished_result(run) for run in runs]
    same = len({(result["prompts_sha256"], result["n"]) for result in results}) == 1
    if len(runs) < 2 or not same or len({run.name for run in runs}) != len(runs):
        raise InputError("give two or more runs of the same prompts, in folders of other names.")
    paths = [draws.path_of(runs[0], i) for i in range(results[0]["n"])]
    return [str((images.read_parameters(path) or {}).get("prompt", "")) for path in paths]
