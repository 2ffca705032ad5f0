"""COCO's validation set with a part left out, so that a model is compared with what it could know.

GLIDE (filtered) was trained without people, violence and two hate symbols: against all of COCO,
half of which shows people, its distance says mostly that. The paper's own "validation filtered"
is another thing, a reference without pictures that resemble training data; which those are only
the owner of the training data knows, so they come as a list.
"""

import hashlib
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from glide_jax import checks
from glide_jax.data.readers.coco import Coco
from glide_jax.errors import InputError

NAMES = ("people", "people-words")
# Whole words of captions, in small letters. Some mean other things too ("batter"): what is left out
# wrongly costs a few pictures, what is left in wrongly costs the comparison.
WORDS = frozenset({
    "adult", "adults", "anyone", "athlete", "athletes", "audience", "babies", "baby", "batter",
    "batters", "biker", "bikers", "boy", "boys", "bride", "catcher", "catchers", "chef",
    "chefs", "child", "children", "couple", "couples", "crowd", "crowds", "cyclist", "cyclists",
    "driver", "drivers", "everyone", "families", "family", "farmer", "fireman", "firemen",
    "friends", "gentleman", "gentlemen", "girl", "girls", "groom", "guy", "guys", "human",
    "humans", "kid", "kids", "ladies", "lady", "man", "men", "officer", "officers", "passenger",
    "passengers", "pedestrian", "pedestrians", "people", "person", "persons", "pitcher",
    "pitchers", "player", "players", "police", "policeman", "policemen", "rider", "riders",
    "skateboarder", "skateboarders", "skier", "skiers", "snowboarder", "snowboarders",
    "soldier", "soldiers", "somebody", "someone", "spectator", "spectators", "surfer",
    "surfers", "swimmer", "swimmers", "teenager", "teenagers", "toddler", "toddlers", "tourist",
    "tourists", "umpire", "umpires", "woman", "women", "worker", "workers", "battle", "blood",
    "bloody", "bomb", "bombs", "corpse", "fight", "fighting", "gun", "guns", "pistol",
    "pistols", "rifle", "rifles", "sword", "swords", "war", "weapon", "weapons", "confederate",
    "nazi", "nazis", "swastika", "swastikas",
})  # fmt: skip
_VERSION = 1  # of the rules and the words


class Kept(NamedTuple):
    """What a filter leaves, as numbers of a source's pictures."""

    reference: tuple[int, ...]
    prompts: tuple[int, ...]  # pictures whose captions are drawn
    about: dict[str, Any]  # for the result: the filter's name, and the sums of all it depends on


def apply(filtered: str, source: Coco, path: str | pathlib.Path) -> Kept:
    """The pictures that pass.

    Args:
        filtered: "people": neither a person in COCO's instances nor one of WORDS in any caption;
            "people-words": by captions alone; else a file with names of pictures to leave out of
            the reference, one a line, whose captions are drawn all the same.
        source: COCO's 2014 validation set.
        path: its folder.

    Raises:
        InputError: a file is missing or damaged, or nothing or everything passes.
    """
    names, about = source.names, {}
    if filtered in NAMES:
        out = {n for n, texts in zip(names, source.caption_lists, strict=True) if _told(texts)}
        about["words_sha256"] = _sum(json.dumps(sorted(WORDS)).encode())
        if filtered == "people":
            shown, about["instances_sha256"] = _shown(path)
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
    return Kept(kept, kept if filtered in NAMES else tuple(range(len(names))), about)


def _told(captions: Sequence[str]) -> bool:
    return any(WORDS & set(re.findall(r"[a-z]+", text.lower())) for text in captions)


def _shown(path: str | pathlib.Path) -> tuple[set[str], str]:
    """Names of the pictures in which COCO has outlined a person, and the file's sum."""
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
    except (ValueError, KeyError, TypeError) as error:
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
