"""Parts that the readers share: captions in text and in JSON, as people write them."""

import json
from typing import Any

from glide_jax import checks
from glide_jax.data.example import Rejected

TEXT_FIELDS = ("text", "caption", "captions")
_MARKS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def caption_fields(row: Any) -> list[str]:
    """Returns all texts that a JSON object gives as captions, under any of the usual names."""
    texts: list[Any] = []
    fields = lower_fields(row)
    for field in TEXT_FIELDS:
        value = fields.get(field)
        texts += value if isinstance(value, list) else [value]
    return [text for text in texts if isinstance(text, str)]


def lower_fields(row: Any) -> dict[str, Any]:
    """Returns the fields of a JSON object under names in lower case; {} for anything else."""
    return {str(name).lower(): row[name] for name in row} if isinstance(row, dict) else {}


def no_caption_fields(row: Any) -> str:
    """Returns a phrase on an object that has no field of captions, and "" for one that has."""
    fields = lower_fields(row)
    if not fields or any(field in fields for field in TEXT_FIELDS):
        return ""
    names = ", ".join(checks.shown(str(name), 40) for name in list(row)[:8])
    known = ", ".join(map(repr, TEXT_FIELDS))
    return f"has the fields {names}, and captions must be under one of {known}"


def parse_json(text: str) -> Any:
    """Parses JSON from outside.

    Raises:
        ValueError: it is no JSON, or nested so deeply that it is an attack.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def utf8(data: bytes, name: str) -> str:
    """Returns the text of a file of captions.

    Raises:
        Rejected: "not UTF-8".
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Rejected("not UTF-8", f"{name}: {encoding_of(data)}; save it as UTF-8") from None
    if "\0" in text:
        raise Rejected("not UTF-8", f"{name}: {encoding_of(data)}; save it as UTF-8")
    return text


def encoding_of(data: bytes) -> str:
    """Returns a phrase on the encoding of text that is not UTF-8."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return f"it begins as {encoding} does"
    if b"\0" in data:
        return "it has NUL bytes, as UTF-16 has"
    return "its bytes are those of Latin-1, Windows-1252 or another encoding"


def lines_of(text: str) -> list[str]:
    """Returns the lines of a text.

    Line feeds and carriage returns end lines; what else Unicode counts as a separator, such as
    U+2028, is text, which `str.splitlines` would cut.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
