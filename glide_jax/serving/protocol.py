"""The fields of OpenAI's Images API, and the words that other open servers add, as calls."""

import dataclasses
import re
import secrets
from collections.abc import Mapping
from typing import Any

from PIL import Image as PILImage

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.safety.output_filter import Scorer
from glide_jax.safety.prompt_filter import Finding, PromptFilter, Refused
from glide_jax.sampling import edits, notes
from glide_jax.sampling.call import Call
from glide_jax.sampling.glide import Glide
from glide_jax.sampling.parsers import LAST_SEED
from glide_jax.serving import sent

FORMATS = ("png", "webp", "jpeg")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")

# Our option by the field's name, of those that every operation has.
_OPTIONS = {
    "negative_prompt": "negative_prompt",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance_scale",
    "seed": "seed",
    "sampler": "sampler",
    "preset": "preset",
    "record_prompt": "record_prompt",
}
_COMMON = ("model", "n", "size", "response_format", "user", *_OPTIONS)
_FORMAT = ("output_format", "output_compression")
_STREAM = ("stream", "partial_images")
FIELDS = {  # operation: the fields that it reads, beside its pictures
    "generation": ("prompt", *_COMMON, *_FORMAT, *_STREAM),
    "edit": ("prompt", *_COMMON, *_FORMAT, *_STREAM, "strength"),
    "variation": (*_COMMON, *_FORMAT, "strength"),
}


class ApiError(Exception):
    """An answer that is an error, shaped as OpenAI's.

    Args:
        message: one sentence.
        param: the field that it is about.
        status: HTTP's number.
        code: a word for programs.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        message: str,
        param: str | None = None,
        *,
        status: int = 400,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.headers = status, headers
        kind = "invalid_request_error" if status < 500 else "server_error"
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status, kind)
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclasses.dataclass(frozen=True)
class Limits:
    """The bounds of a single request."""

    n: int = 10  # pictures
    steps: int = 250
    prompt: int = 4000  # characters
    body: int = 64 << 20  # bytes
    pixels: int = 1 << 22  # in a picture that is sent; four times as many take ten seconds
    seconds: float = 600.0  # from its arrival to its last picture
    prompts: PromptFilter = dataclasses.field(default_factory=lambda: PromptFilter.of("refuse"))
    scorer: Scorer | None = None  # the output filter, if there is one


@dataclasses.dataclass(frozen=True)
class Wish:
    """A request, parsed.

    Attributes:
        operation: "generation", "edit" or "variation".
        prompt: the prompt, or both of a pair between which frames are drawn.
        calls: one for each picture.
        seed: the seed of all, chosen here if the request names none.
        format: png, webp or jpeg.
        compression: quality of webp and jpeg, 0 to 100.
        as_url: whether the answer holds addresses instead of pictures.
        stream: whether events are sent.
        partial_images: previews of each picture.
        notes: sentences about the prompt, see `sampling.notes`.
        finding: the prompt filter's.
    """

    operation: str
    prompt: str | tuple[str, str]
    calls: tuple[Call, ...]
    seed: int
    format: str = "png"
    compression: int = 90
    as_url: bool = False
    stream: bool = False
    partial_images: int = 0
    notes: tuple[str, ...] = ()
    finding: Finding | None = None


def named(field: str) -> str:
    """A field's name as an error's `param`, which JSON in UTF-8 can hold."""
    return checks.printable(field[:80])[:80]


def parse_wish(
    glide: Glide,
    operation: str,
    fields: Mapping[str, Any],
    pictures: Mapping[str, PILImage.Image],
    limits: Limits,
) -> Wish:
    """A request as calls of the model, checked as far as that needs no drawing.

    Args:
        glide: the model.
        operation: a key of `FIELDS`.
        fields: by name; numbers may be text, and a field that is null is absent.
        pictures: "image" and "mask", where they were sent.
        limits: the server's.

    Raises:
        ApiError: a field is unknown, wrong, or beyond the limits.
    """
    values = {name: value for name, value in fields.items() if value is not None}
    for name in values:
        if name not in FIELDS[operation]:
            raise ApiError(
                f"{checks.shown(name)} means nothing here; leave it out. The fields are "
                f"{', '.join(FIELDS[operation])}.",
                named(name),
                code="unknown_parameter",
            )
    reader = _Reader(values, limits)
    model = values.get("model", glide.loaded.name)
    if model != glide.loaded.name:
        raise ApiError(
            f"there is no model {checks.shown(model)} here; it is {glide.loaded.name!r}.",
            "model", status=404, code="model_not_found",
        )  # fmt: skip
    prompt, n = reader.prompt(required=operation != "variation"), reader.whole("n", 1, 1, limits.n)
    options = reader.options()
    options["upsample"] = _upsample(glide, operation, values.get("size"), pictures.get("image"))
    seed = options.setdefault("seed", secrets.randbelow(LAST_SEED + 1))
    stream = reader.truth("stream")
    wish = Wish(
        operation,
        prompt,
        (),
        seed,
        reader.word("output_format", FORMATS),
        reader.whole("output_compression", 90, 0, 100),
        reader.word("response_format", ("b64_json", "url")) == "url",
        stream,
        reader.whole("partial_images", 0, 0, 3),
    )
    if wish.partial_images and not stream:
        raise ApiError("partial_images needs stream to be true.", "partial_images")
    wish = dataclasses.replace(wish, finding=_filtered(prompt, limits))
    options["edit"] = _edit(glide, operation, pictures, reader, bool(options["upsample"]))
    calls = _calls(glide, prompt, options, n)
    return dataclasses.replace(wish, calls=calls, notes=notes.notes(glide.loaded, [prompt]))


def _filtered(prompt: str, limits: Limits) -> Finding:
    """The findings of the prompt filter.

    Raises:
        ApiError: the prompt is refused; the error has scores and reasons.
    """
    try:
        return limits.prompts.check(prompt)[0]
    except Refused as refused:
        error = ApiError(str(refused), "prompt", code="content_policy_violation")
        error.body["error"]["prompt_filter"] = refused.finding._asdict()
        raise error from None


def _calls(glide: Glide, prompt: str, options: dict[str, Any], n: int) -> tuple[Call, ...]:
    """One call for each picture, the first of which is planned to see whether the model can."""
    named = {ours: theirs for theirs, ours in _OPTIONS.items()}
    try:
        return sent.calls(glide, prompt, options, n)
    except InputError as error:
        message = str(error)
        ours = message.split(" ")[0]
        theirs = named.get(ours)
        if theirs is not None:  # a sentence begins with the name of what is wrong
            message = theirs + message[len(ours) :]
        raise ApiError(message, theirs) from None


class _Reader:
    """Fields with their checks."""

    def __init__(self, values: Mapping[str, Any], limits: Limits):
        self._values, self._limits = values, limits

    def prompt(self, required: bool) -> str:
        value = self._values.get("prompt", None if required else "")
        if not isinstance(value, str):
            found = "missing" if value is None else checks.shown(value)
            raise ApiError(f"prompt is {found}; it must be a text.", "prompt")
        return self._short("prompt", value)

    def _short(self, name: str, text: str) -> str:
        """A prompt within the limits."""
        try:
            return sent.prompt(name, text, self._limits.prompt)
        except InputError as error:
            raise ApiError(str(error), name) from None

    def options(self) -> dict[str, Any]:
        """Our options by their names, within the limits."""
        out = {ours: self._values[name] for name, ours in _OPTIONS.items() if name in self._values}
        if "seed" in out:
            out["seed"] = self.whole("seed", 0, 0, LAST_SEED)
        if "steps" in out:
            self.whole("num_inference_steps", 0, 1, self._limits.steps)
        if isinstance(negative := out.get("negative_prompt"), str):
            self._short("negative_prompt", negative)
        return out

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        if name not in self._values:
            return default
        return self._checked(name, checks.whole, low, high)

    def word(self, name: str, known: tuple[str, ...]) -> str:
        """One of a few words, of which the first is the default."""
        if name not in self._values:
            return known[0]
        return self._checked(name, checks.one_of, known)

    def truth(self, name: str) -> bool:
        return name in self._values and self._checked(name, checks.truth)

    def strength(self, default: float) -> float:
        if "strength" not in self._values:
            return default
        return self._checked("strength", checks.real, 0.0, 1.0)

    def _checked(self, name: str, check: Any, *args: Any) -> Any:
        try:
            return check(name, self._values[name], *args)
        except InputError as error:
            raise ApiError(str(error), name) from None


def _upsample(glide: Glide, operation: str, size: Any, image: PILImage.Image | None) -> bool:
    """Whether the upsampler runs, by the size that is wanted.

    Raises:
        ApiError: the model draws no such size.
    """
    sizes, upsample = glide.sizes, "upsample" in glide.sizes
    if size in (None, "auto"):
        return upsample
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    pair = (int(found[1]), int(found[2])) if found else None
    if operation == "edit" and image is not None:
        if pair == image.size:
            return upsample
        raise ApiError(
            f"size is {checks.shown(size)}; an edit keeps the picture's "
            f"{image.width}x{image.height}, or leave it out.",
            "size",
        )
    for name, side in sizes.items():
        if pair == (side, side):
            return upsample and name == "upsample"
    known = ", ".join(f"{side}x{side}" for side in sizes.values())
    raise ApiError(f"size is {checks.shown(size)}; it must be auto or one of {known}.", "size")


def _edit(
    glide: Glide,
    operation: str,
    pictures: Mapping[str, PILImage.Image],
    reader: _Reader,
    upsample: bool,
) -> Any:
    """The edit that a request makes of its picture; None for one without."""
    if operation == "generation":
        return None
    if "image" not in pictures:
        raise ApiError("image is missing; it must be a picture.", "image")
    image, mask = pictures["image"], pictures.get("mask")
    make, name = edits.redrawing, "image"
    try:
        if operation == "variation":
            return make(glide.loaded, image, strength=reader.strength(0.5), upsample=upsample)
        if mask is None and not _clear(image):
            return make(glide.loaded, image, strength=reader.strength(0.6), upsample=upsample)
        name = "image" if mask is None else "mask"
        clear = _repainted(image if mask is None else mask, name)
        strength = reader.strength(1.0)
        return edits.inpainting(glide.loaded, image, clear, strength=strength, upsample=upsample)
    except InputError as error:
        first = str(error).split(" ")[0]
        raise ApiError(str(error), first if first in FIELDS[operation] else name) from None


def _clear(image: PILImage.Image) -> bool:
    """Whether a part of the picture is wholly transparent."""
    if not image.has_transparency_data:
        return False
    return image.convert("RGBA").getchannel("A").getextrema()[0] == 0


def _repainted(mask: PILImage.Image, name: str) -> PILImage.Image:
    """The plane that is white where a picture is transparent, which is what is repainted."""
    if not mask.has_transparency_data:
        raise ApiError(
            f"the {name} has no transparency; its transparent part is what is repainted.", name
        )
    return mask.convert("RGBA").getchannel("A").point(lambda alpha: 255 - alpha)
