"""Answers that are errors: one sentence each, in the shape of OpenAI's."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from glide_jax import checks
from glide_jax.serving.protocol import ApiError


def add_to(app: FastAPI) -> None:
    """Makes an application answer its errors so."""
    app.add_exception_handler(ApiError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_fault)


async def _answer_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body, error.status, error.headers)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = {
        404: f"there is nothing at {checks.shown(request.scope['path'])}.",
        405: f"{request.method} is not possible here.",
    }.get(error.status_code, f"{str(error.detail).rstrip('.')}.")
    wrong = ApiError(sentence, status=error.status_code)
    return JSONResponse(wrong.body, error.status_code, error.headers)


async def _answer_fault(_: Request, error: Exception) -> Response:
    del error  # the server's log has it
    wrong = ApiError("something went wrong; the server's log has the reason.", status=500)
    return JSONResponse(wrong.body, 500)


async def _answer_nobody(_: Request, error: Exception) -> Response:
    del error  # the client went away before its request was there
    return Response(status_code=400)
