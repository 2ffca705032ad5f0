"""Pictures of the engine as answers: whole, or as events while they are drawn."""

import asyncio
import base64
import collections
import contextlib
import io
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from PIL import Image

from glide_jax import images, provenance
from glide_jax.sampling.picture import Picture
from glide_jax.serving.engine import Engine
from glide_jax.serving.jobs import Busy, Event, Failed, Job, Preview
from glide_jax.serving.protocol import ApiError, Limits, Wish

_POLL_SECONDS = 0.5  # between looks whether the client is still there
_STATUS = {"input": 400, "time": 504, "stopped": 503, "server": 500}


class Files:
    """Pictures that answers name by address, the newest of them, in memory.

    Args:
        most: the number that is kept.
    """

    def __init__(self, most: int = 256):
        self._kept: collections.OrderedDict[str, tuple[bytes, str]] = collections.OrderedDict()
        self._most = most

    def add(self, data: bytes, kind: str) -> str:
        """Keeps a picture and returns a name that nobody guesses."""
        name = f"{secrets.token_urlsafe(16)}.{kind}"
        self._kept[name] = data, kind
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> tuple[bytes, str] | None:
        """The bytes and the format of a picture; None if there is none of that name."""
        return self._kept.get(name)


def encoded(wish: Wish, image: Image.Image, parameters: dict[str, Any] | None = None) -> bytes:
    """A picture in the format of the request, marked; PNG carries its parameters.

    Args:
        wish: the request.
        image: the picture.
        parameters: those of a finished picture.
    """
    source = provenance.source_of({"edit": wish.calls[0].edit.record})
    if wish.format != "png":
        return images.lossy(image, wish.format, wish.compression, source, parameters)
    buffer = io.BytesIO()
    images.save_png(buffer, image, parameters, source)
    return buffer.getvalue()


class Answer:
    """A request on its way through the engine.

    Args:
        engine: draws.
        wish: the request.
        limits: the server's.
        gone: gives whether the client does not wait any longer.
    """

    def __init__(
        self, engine: Engine, wish: Wish, limits: Limits, gone: Callable[[], Awaitable[bool]]
    ):
        self._wish, self._gone, self._created = wish, gone, int(time.time())
        self._scorer = limits.scorer
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def sender(k: int) -> Callable[[Event], None]:
            def send(event: Event) -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                    loop.call_soon_threadsafe(self._events.put_nowait, (k, event))

            return send

        self._jobs = [
            Job(wish.prompt, call, sender(k), wish.partial_images, limits.seconds)
            for k, call in enumerate(wish.calls)
        ]
        try:
            engine.submit(self._jobs)
        except Busy as busy:
            raise ApiError(
                str(busy), status=429, code="rate_limit_exceeded",
                headers={"Retry-After": str(busy.seconds)},
            ) from None  # fmt: skip

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """Events with the number of their picture, until all pictures are there.

        Raises:
            ApiError: a picture does not come; the others are given up.
        """
        weights = [call.edit.weights for call in self._wish.calls]
        left = sum(1 if frames is None else len(frames) for frames in weights)
        try:
            while left:
                try:
                    k, event = await asyncio.wait_for(self._events.get(), _POLL_SECONDS)
                except TimeoutError:
                    if await self._gone():
                        return
                    continue
                if isinstance(event, Failed):
                    status = _STATUS[event.fault]
                    raise ApiError(event.message, status=status, code=event.fault)
                left -= isinstance(event, Picture)
                yield k, event
        finally:
            for job in self._jobs:
                job.gone = True

    async def whole(self, address: Callable[[bytes, str], str]) -> dict[str, Any]:
        """The answer once every picture is drawn.

        Args:
            address: keeps a picture of a format and returns its address.

        Raises:
            ApiError: a picture does not come.
        """
        wish, data, size = self._wish, [{} for _ in self._jobs], ""
        async for k, event in self.events():
            if isinstance(event, Picture):
                raw = await asyncio.to_thread(encoded, wish, event.image, event.parameters)
                scores = await self._scores(event)
                size = f"{event.image.width}x{event.image.height}"
                if wish.as_url:
                    data[k] = {"url": address(raw, wish.format), **scores}
                else:
                    data[k] = {"b64_json": base64.b64encode(raw).decode(), **scores}
        return {
            "created": self._created,
            "data": data,
            "output_format": wish.format,
            "size": size,
            "seed": wish.seed,
            "prompt_filter": None if wish.finding is None else wish.finding._asdict(),
            "usage": self._usage(len(data)),
            **self._notes,
        }

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events: previews, and each picture when it is finished."""
        kind = {"generation": "image_generation", "edit": "image_edit"}[self._wish.operation]
        try:
            async for k, event in self.events():
                if not isinstance(event, Preview | Picture):
                    continue
                done = isinstance(event, Picture)
                parameters = event.parameters if done else None
                raw = await asyncio.to_thread(encoded, self._wish, event.image, parameters)
                body = {
                    "type": f"{kind}.{'completed' if done else 'partial_image'}",
                    "b64_json": base64.b64encode(raw).decode(),
                    "created_at": self._created,
                    "size": f"{event.image.width}x{event.image.height}",
                    "quality": "auto",
                    "background": "auto",
                    "output_format": self._wish.format,
                    "index": k,
                    "seed": self._wish.seed,
                }
                if isinstance(event, Picture):
                    scores = await self._scores(event)
                    body |= {"usage": self._usage(1), **self._notes, **scores}
                else:
                    body["partial_image_index"] = event.number
                yield f"event: {body['type']}\ndata: {json.dumps(body)}\n\n"
        except ApiError as error:  # the status line has gone already
            yield f"event: error\ndata: {json.dumps({'type': 'error', **error.body})}\n\n"

    @property
    def _notes(self) -> dict[str, Any]:
        """The notes about the prompt, if there are any."""
        return {"notes": [*self._wish.notes]} if self._wish.notes else {}

    async def _scores(self, picture: Picture) -> dict[str, Any]:
        """The output filter's score of a picture, if there is a filter."""
        if self._scorer is None:
            return {}
        score = await asyncio.to_thread(self._scorer, picture.image)
        return {"unfit_score": round(score, 4)}

    def _usage(self, pictures: int) -> dict[str, Any]:
        """Clients expect counts of tokens; a picture counts as one."""
        return {
            "input_tokens": 0,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
            "output_tokens": pictures,
            "total_tokens": pictures,
        }
