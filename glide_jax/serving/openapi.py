"""The description of the protocol, for clients and tests that read OpenAPI."""

from typing import Any

from glide_jax.diffusion import solvers
from glide_jax.sampling.glide import Glide
from glide_jax.sampling.parsers import LAST_SEED
from glide_jax.sampling.settings import PRESETS
from glide_jax.serving.protocol import FIELDS, FORMATS, Limits
from glide_jax.version import __version__

_FINDING = {
    "type": "object",
    "description": "Of each category of prompts a score, 1 where it is one, and the reasons.",
    "properties": {
        "scores": {"type": "object", "additionalProperties": {"type": "number"}},
        "reasons": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
                "prompt_filter": _FINDING,
            },
        }
    },
}
_PICTURES = {
    "type": "object",
    "required": ["created", "data"],
    "properties": {
        "created": {"type": "integer"},
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "b64_json": {"type": "string"},
                    "url": {"type": "string"},
                    "unfit_score": {
                        "type": "number",
                        "description": "The output filter's: from 0.5 it is likely unfit for work.",
                    },
                },
            },
        },
        "seed": {"type": "integer", "description": "The seed of all pictures."},
        "output_format": {"type": "string", "enum": [*FORMATS]},
        "size": {"type": "string"},
        "prompt_filter": _FINDING,
        "usage": {"type": "object"},
        "notes": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Sentences about a prompt that is drawn, but not as it means.",
        },
    },
}
_MODEL = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by", "sizes", "parameters"],
    "properties": {
        "id": {"type": "string"},
        "object": {"type": "string", "enum": ["model"]},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
        "sizes": {"type": "object", "additionalProperties": {"type": "integer"}},
        "parameters": {"type": "integer"},
    },
}
_MODELS = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {"object": {"type": "string"}, "data": {"type": "array", "items": _MODEL}},
}
_HEALTH = {
    "type": "object",
    "required": ["status", "waiting", "drawing"],
    "properties": {
        "status": {"type": "string", "enum": ["ok", "stopping"]},
        "waiting": {"type": "integer"},
        "drawing": {"type": "integer"},
    },
}
_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
}
_NO_PREVIEWS = {  # they are events
    "if": {
        "required": ["partial_images"],
        "properties": {"partial_images": {"type": "integer", "minimum": 1}},
    },
    "then": {"required": ["stream"], "properties": {"stream": {"const": True}}},
}
_FILE = {"type": "string", "format": "binary"}
_ERRORS = {
    400: "A field is wrong.", 401: "The key is wrong.", 403: "Another site's page asks.",
    404: "There is no such thing.", 405: "The method is not possible.",
    408: "The body did not come in time.", 413: "The body is too large.",
    421: "The server has another name.", 429: "The queue is full.", 500: "A fault.",
    503: "The server stops.", 504: "It took too long.",
}  # fmt: skip


def described(glide: Glide, limits: Limits, *, key: bool) -> dict[str, Any]:
    """The OpenAPI document of a server.

    Args:
        glide: the model.
        limits: the bounds of each request.
        key: whether requests under /v1 must carry one.
    """
    schemas = _field_schemas(glide, limits)
    own = {"type": "string", "description": "auto, or that of the picture."}
    body = lambda operation, pictures=(), required=(): {
        "type": "object",
        "properties": {
            **{name: _FILE for name in pictures},
            **{name: schemas[name] for name in FIELDS[operation]},
            **({"size": own} if operation == "edit" else {}),
        },
        "required": [*required],
        "additionalProperties": False,
    }
    form = "multipart/form-data"
    return {
        "openapi": "3.1.0",
        "info": {"title": "glide_jax", "version": __version__},
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}] if key else [],
        "paths": {
            "/v1/images/generations": _post(
                "Draws pictures of a prompt.",
                _json({**_or_null(body("generation", (), ("prompt",))), **_NO_PREVIEWS}),
            ),
            "/v1/images/edits": _post(
                "Repaints the transparent part of a mask or of the picture, or redraws it all.",
                {form: {"schema": body("edit", ("image", "mask"), ("image", "prompt"))}},
            ),
            "/v1/images/variations": _post(
                "Draws pictures like a picture.",
                {form: {"schema": body("variation", ("image",), ("image",))}},
            ),
            "/v1/repeat": _post(
                "Gives the parameters that a PNG of this program carries.",
                {form: {"schema": {"type": "object", "properties": {"image": _FILE},
                                   "required": ["image"]}}},
                {"type": "object"},
            ),
            "/v1/models": _get("Names the model.", _json(_MODELS)),
            "/v1/models/{name}": _get("Names the model, if it is that.", _json(_MODEL), "name"),
            "/v1/files/{name}": _open(_get(
                "Gives a picture whose address an answer named.",
                {f"image/{kind}": {"schema": _FILE} for kind in FORMATS}, "name",
            )),
            "/health": _open(_get("Shows whether pictures can be drawn.", _json(_HEALTH))),
            "/metrics": _open(_get("Counts, for Prometheus.", {"text/plain": {}})),
        },
    }  # fmt: skip


def _field_schemas(glide: Glide, limits: Limits) -> dict[str, Any]:
    whole = lambda low, high: {"type": "integer", "minimum": low, "maximum": high}
    word = lambda *known: {"type": "string", "enum": [*known]}
    sizes = [f"{side}x{side}" for side in glide.sizes.values()]
    return {
        "prompt": {"type": "string", "maxLength": limits.prompt},
        "model": word(glide.loaded.name),
        "n": whole(1, limits.n),
        "size": word("auto", *sizes),
        "response_format": word("b64_json", "url"),
        "output_format": word(*FORMATS),
        "output_compression": whole(0, 100),
        "stream": {"type": "boolean"},
        "partial_images": whole(0, 3),
        "user": {"description": "A text, which is not used."},
        "negative_prompt": {"type": "string", "maxLength": limits.prompt},
        "num_inference_steps": whole(1, limits.steps),
        "guidance_scale": {"type": "number", "minimum": -100, "maximum": 100},
        "seed": whole(0, LAST_SEED),
        "sampler": word(*solvers.SAMPLERS),
        "preset": word(*PRESETS),
        "record_prompt": {"type": "boolean"},
        "strength": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    }


def _or_null(body: dict[str, Any]) -> dict[str, Any]:
    """A body in which null is as good as nothing, but where a field is required."""
    either = {
        name: schema if name in body["required"] else {"anyOf": [schema, {"type": "null"}]}
        for name, schema in body["properties"].items()
    }
    return {**body, "properties": either}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _responses(content: dict[str, Any], *statuses: int) -> dict[str, Any]:
    """The answer of a request that is right, and those that are errors."""
    errors = {
        str(status): {"description": _ERRORS[status], "content": _json(_ERROR)}
        for status in statuses
    }
    return {"200": {"description": "Done.", "content": content}, **errors}


def _post(summary: str, content: dict[str, Any], answer: Any = None) -> dict[str, Any]:
    stream = {} if answer else {"text/event-stream": {"schema": _EVENT}}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": _responses({**_json(answer or _PICTURES), **stream}, *_ERRORS),
        }
    }


def _get(summary: str, content: dict[str, Any], *names: str) -> dict[str, Any]:
    """A route that gives something.

    Args:
        summary: what it does.
        content: the answer by its type.
        names: parts of the path that are given.
    """
    given = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    responses = _responses(content, 401, 403, 404, 405, 421, 500)
    return {"get": {"summary": summary, "parameters": given, "responses": responses}}


def _open(route: dict[str, Any]) -> dict[str, Any]:
    """A route that asks for no key."""
    route["get"]["security"] = []
    return route
