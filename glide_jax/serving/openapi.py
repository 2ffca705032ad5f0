"""The description of the protocol, for clients and tests that read OpenAPI."""

from typing import Any

from glide_jax.diffusion import solvers
from glide_jax.sampling.call import LAST_SEED
from glide_jax.sampling.glide import Glide
from glide_jax.sampling.settings import PRESETS
from glide_jax.serving.protocol import FIELDS, FORMATS, Limits
from glide_jax.version import __version__

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
                "properties": {"b64_json": {"type": "string"}, "url": {"type": "string"}},
            },
        },
        "seed": {"type": "integer", "description": "The seed of all pictures."},
    },
}
_FILE = {"type": "string", "format": "binary"}


def described(glide: Glide, limits: Limits) -> dict[str, Any]:
    """The OpenAPI document of a server.

    Args:
        glide: the model.
        limits: the bounds of each request.
    """
    schemas = _field_schemas(glide, limits)
    body = lambda operation, pictures=(), required=(): {
        "type": "object",
        "properties": {
            **{name: _FILE for name in pictures},
            **{name: schemas[name] for name in FIELDS[operation]},
        },
        "required": [*required],
        "additionalProperties": False,
    }
    form = "multipart/form-data"
    return {
        "openapi": "3.1.0",
        "info": {"title": "glide_jax", "version": __version__},
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}],
        "paths": {
            "/v1/images/generations": _post(
                "Draws pictures of a prompt.",
                {"application/json": {"schema": body("generation", (), ("prompt",))}},
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
            "/v1/models": _get("Names the model."),
            "/health": _get("Says whether pictures can be drawn."),
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
        "size": {"type": "string", "description": f"auto, {', '.join(sizes)}, or an edit's own."},
        "response_format": word("b64_json", "url"),
        "output_format": word(*FORMATS),
        "output_compression": whole(0, 100),
        "stream": {"type": "boolean"},
        "partial_images": whole(0, 3),
        "user": {"type": "string"},
        "negative_prompt": {"type": "string", "maxLength": limits.prompt},
        "num_inference_steps": whole(1, limits.steps),
        "guidance_scale": {"type": "number", "minimum": -100, "maximum": 100},
        "seed": whole(0, LAST_SEED),
        "sampler": word(*solvers.SAMPLERS),
        "preset": word(*PRESETS),
        "strength": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    }


def _post(summary: str, content: dict[str, Any], answer: Any = None) -> dict[str, Any]:
    errors = {
        str(status): {"description": text, "content": {"application/json": {"schema": _ERROR}}}
        for status, text in {
            400: "A field is wrong.", 401: "The key is wrong.", 404: "There is no such model.",
            413: "The body is too large.", 429: "The queue is full.", 500: "A fault.",
            503: "The server stops.", 504: "It took too long.",
        }.items()
    }  # fmt: skip
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": {
                "200": {
                    "description": "Done.",
                    "content": {
                        "application/json": {"schema": answer or _PICTURES},
                        **({} if answer else {"text/event-stream": {"schema": {"type": "string"}}}),
                    },
                },
                **errors,
            },
        }
    }


def _get(summary: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {"200": {"description": "Done."}}}}
