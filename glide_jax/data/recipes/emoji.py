"""Emoji of several free artists as captioned pictures: a concept in up to seven styles.

A style is a word of the caption, so a picture is a composition of a concept and a style. Some
compositions and some whole concepts are withheld from training, chosen by a hash of their names.
"""

import hashlib
import json
import pathlib
import re
import unicodedata
from dataclasses import dataclass

from glide_jax import images
from glide_jax.data.example import Example
from glide_jax.data.recipes import rendering
from glide_jax.data.recipes.packages import Package, fetch

SPLITS = ("held_out_concepts", "held_out_pairs", "train")
PEOPLE = frozenset({"people-body", "smileys-emotion"})  # what the paper's filter left out
HELD_OUT_CONCEPTS, HELD_OUT_PAIRS = 0.02, 0.03  # parts of all

_NOT_THINGS = "component"  # the group of skin-tone swatches and loose hair


@dataclass(frozen=True)
class Style:
    """One artist's set; `word` stands for it in captions."""

    word: str
    title: str
    author: str
    licence: str
    package: Package


_SOURCES = json.loads(pathlib.Path(__file__).with_name("emoji.json").read_bytes())
LABELS = Package(**_SOURCES["labels"])
STYLES = tuple(Style(**(s | {"package": Package(**s["package"])})) for s in _SOURCES["styles"])


def attribution() -> str:
    """Returns the artists and their licences, for the card of a model trained on the set."""
    lines = [
        f"- {s.title} by {s.author}, {s.licence} ({s.package.name} {s.package.version})"
        for s in STYLES
    ]
    labels = f"- labels and tags: emojibase by Miles Johnson, MIT ({LABELS.name} {LABELS.version})"
    return "\n".join(["Emoji, rendered on white; captions made from labels:", *lines, labels])


@dataclass(frozen=True)
class Concept:
    """The thing an emoji shows, in words."""

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


def draw(icon: Icon) -> Example:
    """Draws an icon at 256 pixels.

    Raises:
        Rejected: "blank" or "not drawable".
    """
    if isinstance(icon.art, str):
        image = rendering.icon(icon.art, icon.name)
    else:
        with images.open_encoded(icon.art) as file:
            image = rendering.on_white(file)
    rendering.check_visible(image, icon.name)
    return Example(image, captions(icon.concept, icon.style), icon.name)


def splits(data_dir: pathlib.Path, *, people: bool = True) -> dict[str, rendering.Drawn[Icon]]:
    """Returns every split as a source, held-out ones first; fetches packages that are missing.

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
    return {split: rendering.Drawn(icons, draw) for split, icons in parts.items()}


def split_of(icon: Icon) -> str:
    """Returns the split that a picture is in: a function of its name alone."""
    if fraction(icon.concept.slug) < HELD_OUT_CONCEPTS:
        return "held_out_concepts"
    return "held_out_pairs" if fraction(icon.name) < HELD_OUT_PAIRS else "train"


def captions(concept: Concept, style: str) -> tuple[str, ...]:
    """Returns the label alone, with its style, with two of its tags, and with three others."""
    article = "an" if style[0] in "aeiou" else "a"
    texts = [concept.label, f"{article} {style} emoji of {concept.label}"]
    # Each picture orders the tags differently, so that the captions of styles differ.
    order = sorted(concept.tags, key=lambda tag: fraction(f"{style}/{concept.slug}/{tag}"))
    for some in (order[:2], order[2:5]):
        if some:
            texts.append(", ".join([concept.label, *some]))
    return tuple(texts)


def fraction(name: str) -> float:
    """Returns a number in [0, 1) that the name alone decides, on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def slug(text: str) -> str:
    """Returns text as icon sets name their files: ASCII letters and digits joined by -."""
    text = text.replace("#", "hash").replace("*", "asterisk")  # keycaps
    text = unicodedata.normalize("NFKD", text.lower())
    text = re.sub(r"['\u2019\u201c\u201d!.:,()&\u0300-\u036f]", "", text)  # accents as well
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


# Reading the packages.


def read_concepts(folder: pathlib.Path) -> dict[str, Concept | None]:
    """Returns concepts by slug, by slug without its -, and by code point; None for a skin tone."""
    groups = json.loads((folder / "meta/groups.json").read_bytes())["groups"]
    named: dict[str, Concept | None] = {}
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
                named.setdefault(name, shown)
    return named


def read_style(
    style: Style, folder: pathlib.Path, concepts: dict[str, Concept | None]
) -> list[Icon]:
    """Returns the pictures of a style that have a label, one of each concept.

    Args:
        style: the artist's set.
        folder: its unpacked package.
        concepts: the concepts by their names, from `read_concepts`.
    """
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
    """Returns a code sequence without leading zeros and without U+FE0F, which asks for colour."""
    return "-".join(p.lstrip("0").lower() for p in code.split("-") if p.upper() != "FE0F")


def _plain(label: str) -> str:
    """Returns a label as a person would type it."""
    label = re.sub("[\u2018\u2019]", "'", re.sub("[\u201c\u201d]", '"', label))
    return label.replace("flag: ", "flag of ").replace(": ", ", ")
