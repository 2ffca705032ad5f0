"""The HTTP application: routes, keys, limits and errors around the engine."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.serving import faults, metrics, openapi, sent
from glide_jax.serving.answers import Answer, Files
from glide_jax.serving.engine import Engine
from glide_jax.serving.guard import Guard
from glide_jax.serving.protocol import ApiError, Limits, Wish, named, parse_wish
from glide_jax.version import __version__


def make_app(
    engine: Engine,
    *,
    limits: Limits = Limits(),  # noqa: B008  it is immutable
    api_key: str | None = None,
    host: str | None = None,
    page: bool = False,
    live: Engine | None = None,
) -> FastAPI:
    """The application of one engine.

    Args:
        engine: draws.
        limits: what a request may ask for.
        api_key: the key that every request under /v1 must carry; None asks for none.
        host: the address that is served, under whose names alone browsers may come; None allows
            every name.
        page: whether the page is at its root.
        live: draws on the page while a prompt is typed, if there is one.

    Raises:
        InputError: there is to be a page, and Gradio is not installed.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.drain, limits.seconds)

    app = FastAPI(
        title="glide_jax", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.engine, app.state.files = engine, Files()
    app.state.close_pages = lambda: None  # ends connections that only keep open pages company
    measured = metrics.Metrics(engine)
    _Routes(app, engine, limits, measured)
    faults.add_to(app)
    if page:
        from glide_jax.serving import door
        from glide_jax.serving import page as pages

        app.add_middleware(door.Door, page=pages.made(app, engine, limits, live), api_key=api_key)
    app.add_middleware(Guard, most=limits.body, api_key=api_key, host=host)
    app.openapi = lambda: openapi.described(engine.glide, limits, key=api_key is not None)
    return app


class _Routes:
    """The routes and what they share.

    Args:
        app: they are added to it.
        engine: draws.
        limits: the bounds of each request.
        measured: counts.
    """

    def __init__(self, app: FastAPI, engine: Engine, limits: Limits, measured: metrics.Metrics):
        self._engine, self._limits, self._measured = engine, limits, measured
        self._files: Files = app.state.files
        self._began = int(time.time())
        post = lambda path, function: app.add_api_route(path, function, methods=["POST"])
        post("/v1/images/generations", self.generations)
        post("/v1/images/edits", self.edits)
        post("/v1/images/variations", self.variations)
        post("/v1/repeat", self.repeat)
        app.add_api_route("/v1/files/{name}", self.file)
        app.add_api_route("/v1/models", self.models)
        app.add_api_route("/v1/models/{name:path}", self.model)
        app.add_api_route("/health", self.health)
        app.add_api_route("/metrics", self.metrics)

    async def generations(self, request: Request) -> Response:
        """Pictures of a prompt."""
        return await self._answer(request, "generation", await _json_fields(request), {})

    async def edits(self, request: Request) -> Response:
        """A picture repainted where its mask is transparent, or redrawn from itself."""
        fields, pictures = await self._form(request)
        return await self._answer(request, "edit", fields, pictures)

    async def variations(self, request: Request) -> Response:
        """Pictures like a picture."""
        fields, pictures = await self._form(request)
        return await self._answer(request, "variation", fields, pictures)

    async def repeat(self, request: Request) -> Response:
        """The parameters that a picture of ours carries."""
        _, pictures = await self._form(request)
        if "image" not in pictures:
            raise ApiError("image is missing; it must be a PNG of this program.", "image")
        found = sent.parameters(pictures["image"])
        if found is None:
            raise ApiError("the image carries no parameters of this program.", "image")
        return JSONResponse(found)

    async def file(self, name: str) -> Response:
        """A picture that an answer named by its address."""
        found = self._files.get(name)
        if found is None:
            raise ApiError("there is no such picture, or it was long ago.", status=404)
        return Response(found[0], media_type=f"image/{found[1]}")

    async def models(self) -> dict[str, Any]:
        """The one model."""
        return {"object": "list", "data": [self._model()]}

    async def model(self, name: str) -> dict[str, Any]:
        """The one model, if it is that."""
        if name != self._engine.glide.loaded.name:
            raise ApiError(
                f"there is no model {checks.shown(name)} here.",
                "model", status=404, code="model_not_found",
            )  # fmt: skip
        return self._model()

    async def health(self) -> Response:
        """Whether pictures can be drawn."""
        waiting, live = self._engine.load
        alive = self._engine.alive
        body = {"status": "ok" if alive else "stopping", "waiting": waiting, "drawing": live}
        return JSONResponse(body, 200 if alive else 503)

    async def metrics(self) -> Response:
        """Counts, for Prometheus."""
        body, kind = self._measured.exposition()
        return Response(body, media_type=kind)

    def _model(self) -> dict[str, Any]:
        glide = self._engine.glide
        return {
            "id": glide.loaded.name, "object": "model", "created": self._began,
            "owned_by": "glide_jax", "sizes": glide.sizes, "parameters": glide.parameter_count,
        }  # fmt: skip

    async def _answer(
        self, request: Request, operation: str, fields: dict[str, Any], pictures: dict[str, Any]
    ) -> Response:
        """Draws what a request asks for."""
        with self._measured.timed(operation):
            wish: Wish = await asyncio.to_thread(
                parse_wish, self._engine.glide, operation, fields, pictures, self._limits
            )
            answer = Answer(self._engine, wish, self._limits, request.is_disconnected)
            if not wish.stream:
                return JSONResponse(
                    await answer.whole(
                        lambda data, kind: str(
                            request.url_for("file", name=self._files.add(data, kind))
                        )
                    )
                )
        return StreamingResponse(
            answer.stream(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )

    async def _form(self, request: Request) -> tuple[dict[str, Any], dict[str, Image.Image]]:
        """The fields of a form, and its pictures."""
        fields, pictures = {}, {}
        try:
            async with request.form(max_files=4, max_fields=64) as form:
                for name, value in form.multi_items():
                    plain = name.removesuffix("[]")
                    if plain in fields or plain in pictures:
                        wrong = f"{checks.shown(plain)} is there twice; send it once."
                        raise ApiError(wrong, named(plain))
                    if not isinstance(value, UploadFile):
                        fields[plain] = value
                    elif plain not in ("image", "mask"):
                        raise ApiError(f"{checks.shown(plain)} must be no file.", named(plain))
                    else:
                        data = await value.read()
                        pictures[plain] = await asyncio.to_thread(self._picture, plain, data)
        except HTTPException as error:  # from reading the form
            why = str(error.detail).rstrip(".")
            wrong = f"the body is no sound form: {why}."
            raise ApiError(wrong, status=error.status_code) from None
        except UnicodeError:  # from a codec that the request names, such as idna
            raise ApiError("the body is no sound form: its charset does not fit it.") from None
        return fields, pictures

    def _picture(self, name: str, data: bytes) -> Image.Image:
        try:
            return sent.picture(name, data, self._limits.pixels)
        except InputError as error:
            raise ApiError(str(error), name) from None


async def _json_fields(request: Request) -> dict[str, Any]:
    """The body of a request as an object.

    Raises:
        ApiError: it is none.
    """
    try:
        fields = json.loads(await request.body())
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ApiError("the body must be a JSON object.")
    return fields
