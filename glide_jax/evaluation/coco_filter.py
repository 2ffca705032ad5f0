"""COCO's validation set without the pictures of subjects that a model was not trained on.

GLIDE (filtered) was trained without people, violence and two hate symbols: against all of COCO,
half of which shows people, its distance measures mostly that. The paper's own "validation filtered"
is another thing, a reference without pictures that resemble training data; only the owner of the
training data knows which those are, so they come as a list.
"""

import hashlib
import json
import pathlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any, NamedTuple

from glide_jax import checks
from glide_jax.data.readers.coco import Coco
from glide_jax.errors import InputError

NAMES = ("people", "people-words")
# Whole words of captions, in small letters. Some mean other things too ("batter"): leaving a
# picture out wrongly costs little, leaving one in wrongly spoils the comparison.
WORDS = frozenset(
    (resources.files("glide_jax.evaluation") / "coco_filter_words.txt").read_text("utf-8").split()
)
_VERSION = 1  # changes with the rules and the words


class Filtered(NamedTuple):
    """The pictures that a filter keeps, by their numbers in the source."""

    reference: tuple[int, ...]
    prompts: tuple[int, ...]  # pictures whose captions are drawn
    about: dict[str, Any]  # for the result: the filter's name and the sums of its inputs


def apply_filter(filtered: str, source: Coco, path: str | pathlib.Path) -> Filtered:
    """Chooses the pictures that pass.

    Args:
        filtered: "people": neither a person in COCO's instances nor one of WORDS in any caption;
            "people-words": by captions alone; else a file with names of pictures to leave out of
            the reference, one a line, whose captions are drawn all the same.
        source: COCO's 2014 validation set.
        path: the set's folder.

    Raises:
        InputError: a file is missing or damaged, or nothing or everything passes.
    """
    names, about = source.names, {}
    if filtered in NAMES:
        out = {
            n
            for n, texts in zip(names, source.caption_lists, strict=True)
            if _mentions_people(texts)
        }
        about["words_sha256"] = _sum(json.dumps(sorted(WORDS)).encode())
        if filtered == "people":
            shown, about["instances_sha256"] = _outlined(path)
            out |= shown
        label = f"{filtered}/{_VERSION}"
    else:
        out, about["list_sha256"] = _listed(filtered)
        label = "listed/1"
    kept = tuple(i for i, name in enumerate(names) if name not in out)
    if not 0 < len(kept) < len(names):
        raise InputError(
            f"filter {checks.shown(filtered)} keeps {len(kept)} of {len(names)} pictures; it must "
            "keep some and leave some out."
        )
    about = {
        "name": label,
        "pictures": len(kept),
        "of": len(names),
        "pictures_sha256": _sum(json.dumps([names[i] for i in kept]).encode()),
        **about,
    }
    return Filtered(kept, kept if filtered in NAMES else tuple(range(len(names))), about)


def _mentions_people(captions: Sequence[str]) -> bool:
    return any(WORDS & set(re.findall(r"[a-z]+", text.lower())) for text in captions)


def _outlined(path: str | pathlib.Path) -> tuple[set[str], str]:
    """Names of the pictures with an outlined person, and the sum of the instances file."""
    file = pathlib.Path(path) / "annotations" / "instances_val2014.json"
    try:
        data = file.read_bytes()
        table = json.loads(data)
        person = {one["id"] for one in table["categories"] if one["name"] == "person"}
        numbers = {a["image_id"] for a in table["annotations"] if a["category_id"] in person}
        names = {one["file_name"] for one in table["images"] if one["id"] in numbers}
    except FileNotFoundError:
        raise InputError(
            f"{str(file)!r} does not exist; it is in COCO's annotations archive, and "
            "'people-words' does without it."
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{str(file)!r} is not a COCO instances file ({type(error).__name__}: {error})."
        ) from None
    return names, _sum(data)


def _listed(path: str) -> tuple[set[str], str]:
    try:
        data = pathlib.Path(path).read_bytes()
        names = {line.strip() for line in data.decode("utf-8").splitlines()}
    except (OSError, ValueError) as error:
        raise InputError(
            f"filtered is {checks.shown(path)}; it must be {', '.join(NAMES)}, or a file with "
            f"names of pictures, one a line ({error})."
        ) from None
    return names, _sum(data)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
