"""Emoji of several free artists as captioned pictures: a concept in up to seven styles.

A style is a word of the caption, so a picture is a composition of a concept and a style. Some
compositions and some whole concepts are withheld from training, chosen by a hash of their names.
"""

import hashlib
import json
import pathlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from glide_jax.data.example import Example, Rejected
from glide_jax.data.recipes import rendering
from glide_jax.data.recipes.packages import Package, fetch

SPLITS = ("held_out_concepts", "held_out_pairs", "train")
PEOPLE = frozenset({"people-body", "smileys-emotion"})  # what the paper's filter left out
HELD_OUT_CONCEPTS, HELD_OUT_PAIRS = 0.02, 0.03  # parts of all

_ICONS = ("icons.json", "chars.json", "info.json")
_BLANK = 16  # a picture whose values span less shows nothing
_NOT_THINGS = "component"  # the group of skin-tone swatches and loose hair


@dataclass(frozen=True)
class Style:
    """One artist's set; `word` stands for it in captions."""

    word: str
    title: str
    author: str
    licence: str
    package: Package


def _iconify(name: str, version: str, sha256: str) -> Package:
    return Package("npm", f"@iconify-json/{name}", version, sha256, _ICONS)


STYLES = (
    Style("noto", "Noto Emoji", "Google Inc", "Apache-2.0", _iconify(
        "noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad")),
    Style("blob", "Noto Emoji (v1)", "Google Inc", "Apache-2.0", _iconify(
        "noto-v1", "1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37")),
    Style("flat", "Fluent Emoji Flat", "Microsoft Corporation", "MIT", _iconify(
        "fluent-emoji-flat", "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175")),
    Style("3d", "Fluent Emoji 3D", "Microsoft Corporation, packaged by LobeHub", "MIT", Package(
        "npm", "@lobehub/fluent-emoji-3d", "1.1.0",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58", ("assets/*.webp",))),
    Style("firefox", "Firefox OS Emoji", "Mozilla", "Apache-2.0", _iconify(
        "fxemoji", "1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef")),
    Style("twemoji", "Twemoji", "Twitter, Inc and other contributors", "CC-BY-4.0", _iconify(
        "twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7")),
    Style("emojione", "Emoji One 2 (Emojitwo)", "Emoji One and Emojitwo contributors",
          "CC-BY-4.0", _iconify(
        "emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e")),
)  # fmt: skip
LABELS = Package(
    "npm", "emojibase-data", "17.0.0",
    "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    ("en/data.json", "meta/groups.json"),
)  # fmt: skip


def attribution() -> str:
    """Who drew what under which licence, for the card of a model trained on it."""
    lines = [
        f"- {s.title} by {s.author}, {s.licence} ({s.package.name} {s.package.version})"
        for s in STYLES
    ]
    labels = f"- labels and tags: emojibase by Miles Johnson, MIT ({LABELS.name} {LABELS.version})"
    return "\n".join(["Emoji, rendered on white; captions made from labels:", *lines, labels])


@dataclass(frozen=True)
class Concept:
    """What an emoji shows, in words."""

    label: str
    tags: tuple[str, ...]
    group: str

    @property
    def slug(self) -> str:
        """The label as part of a name."""
        return slug(self.label)


@dataclass(frozen=True)
class Icon:
    """One picture yet to be drawn: SVG text, or the file of a picture."""

    style: str
    concept: Concept
    art: str | pathlib.Path

    @property
    def name(self) -> str:
        """Unique in the set: style and concept."""
        return f"{self.style}/{self.concept.slug}"


class Icons:
    """Icons as a `Source`, drawn at 256 pixels when they are asked for."""

    def __init__(self, icons: Iterable[Icon]):
        self.icons = tuple(icons)

    def __len__(self) -> int:
        return len(self.icons)

    def __getitem__(self, index: int) -> Example:
        item = self.icons[index]
        if isinstance(item.art, str):
            image = rendering.icon(item.art, item.name)
        else:
            with Image.open(item.art) as file:
                image = rendering.on_white(file)
        if np.ptp(image) < _BLANK:
            raise Rejected("blank", item.name)
        return Example(image, captions(item.concept, item.style), item.name)


def splits(data_dir: pathlib.Path, *, people: bool = True) -> dict[str, Icons]:
    """Every split as a source, held-out ones first; packages are fetched if they are not there.

    Args:
        data_dir: holds the folder of packages.
        people: whether faces and people are in it.

    Raises:
        InputError: a package cannot be fetched.
    """
    concepts = read_concepts(fetch(LABELS, data_dir))
    parts: dict[str, list[Icon]] = {split: [] for split in SPLITS}
    for style in STYLES:
        for icon in read_style(style, fetch(style.package, data_dir), concepts):
            if people or icon.concept.group not in PEOPLE:
                parts[split_of(icon)].append(icon)
    return {split: Icons(icons) for split, icons in parts.items()}


def split_of(icon: Icon) -> str:
    """Which split a picture is in: a function of its name alone."""
    if fraction(icon.concept.slug) < HELD_OUT_CONCEPTS:
        return "held_out_concepts"
    return "held_out_pairs" if fraction(icon.name) < HELD_OUT_PAIRS else "train"


def captions(concept: Concept, style: str) -> tuple[str, ...]:
    """The label, the label with its style, and the label with two and with three of its tags."""
    article = "an" if style[0] in "aeiou" else "a"
    told = [concept.label, f"{article} {style} emoji of {concept.label}"]
    # Tags in an order of the picture's own, so that styles differ in what is said.
    order = sorted(concept.tags, key=lambda tag: fraction(f"{style}/{concept.slug}/{tag}"))
    for some in (order[:2], order[2:5]):
        if some:
            told.append(", ".join([concept.label, *some]))
    return tuple(told)


def fraction(name: str) -> float:
    """A number in [0, 1) that only the name decides, on every machine and in every version."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def slug(text: str) -> str:
    """Text as icon sets name their files: ASCII letters and digits joined by -."""
    text = text.replace("#", "hash").replace("*", "asterisk")  # keycaps
    text = unicodedata.normalize("NFKD", text.lower())
    text = re.sub(r"['\u2019\u201c\u201d!.:,()&\u0300-\u036f]", "", text)  # accents as well
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


# Reading the packages.


def read_concepts(folder: pathlib.Path) -> dict[str, Concept | None]:
    """Concepts by slug, by slug without its -, and by code point; None marks a skin tone."""
    groups = json.loads((folder / "meta/groups.json").read_bytes())["groups"]
    found: dict[str, Concept | None] = {}
    for entry in json.loads((folder / "en/data.json").read_bytes()):
        group = groups.get(str(entry.get("group")), "letters")
        if group == _NOT_THINGS:
            continue
        label = _plain(entry["label"])
        tags = tuple(tag for tag in entry.get("tags", ()) if tag not in label)
        concept = Concept(label, tags, group)
        tones = ((tone, None) for tone in entry.get("skins", ()))
        for one, shown in ((entry, concept), *tones):
            key = slug(one["label"])
            for name in (key, key.replace("-", ""), _code(one["hexcode"])):
                found.setdefault(name, shown)
    return found


def read_style(
    style: Style, folder: pathlib.Path, concepts: dict[str, Concept | None]
) -> list[Icon]:
    """The pictures of a style that have a label, one of each concept."""
    if (folder / "assets").is_dir():
        files = sorted((folder / "assets").glob("*.webp"))
        pairs = [(concepts.get(_code(path.stem)), path) for path in files]
    else:
        pairs = _read_icons(folder, concepts)
    # The first of a concept stays: sets also keep their own former drawings under other names.
    unique = {concept: art for concept, art in reversed(pairs) if concept}
    return sorted((Icon(style.word, c, art) for c, art in unique.items()), key=lambda i: i.name)


def _read_icons(
    folder: pathlib.Path, concepts: dict[str, Concept | None]
) -> list[tuple[Concept | None, str]]:
    data = json.loads((folder / "icons.json").read_bytes())
    codes: dict[str, list[str]] = {}
    if (folder / "chars.json").exists():
        for code, name in json.loads((folder / "chars.json").read_bytes()).items():
            codes.setdefault(name, []).append(_code(code))
    pairs = []
    for name, icon in data["icons"].items():
        if icon.get("hidden"):  # withdrawn by its set
            continue
        known = [key for key in (*codes.get(name, ()), name) if key in concepts]
        if known:
            pairs.append((concepts[known[0]], _svg(icon, data)))
    return pairs


def _svg(icon: dict, data: dict) -> str:
    size = {key: icon.get(key, data.get(key, 16)) for key in ("width", "height")}
    left, top = icon.get("left", 0), icon.get("top", 0)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{rendering.SIDE}" height="{rendering.SIDE}" '
        f'viewBox="{left} {top} {size["width"]} {size["height"]}">{icon["body"]}</svg>'
    )


def _code(code: str) -> str:
    """A code sequence without its request for a coloured picture, and without leading zeros."""
    return "-".join(p.lstrip("0").lower() for p in code.split("-") if p.upper() != "FE0F")


def _plain(label: str) -> str:
    """A label as a person would type it."""
    label = re.sub("[\u2018\u2019]", "'", re.sub("[\u201c\u201d]", '"', label))
    return label.replace("flag: ", "flag of ").replace(": ", ", ")
