"""Open Clip Art in colour as captioned pictures; what it shows is read from names and keywords."""

import html
import pathlib
import re
import unicodedata
from dataclasses import dataclass

import numpy as np

from glide_jax.data.example import Example, Rejected, captions_of
from glide_jax.data.recipes import rendering
from glide_jax.data.recipes.emoji import fraction, slug
from glide_jax.data.recipes.packages import Package, fetch

SPLITS = ("held_out", "train")
HELD_OUT = 0.02  # part of all labels

DRAWINGS = Package(
    "apt-get", "openclipart-svg", "1:0.18+dfsg-19",
    "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
    ("usr/share/openclipart/svg/*.svg", "usr/share/doc/*/copyright"),
)  # fmt: skip

# Series of one thing a hundred times over, and icon themes whose names are computer commands.
_LEFT_OUT = re.compile(
    r"shapes/(stars|jigsaw|callouts|flowchart)/|-theme/|special/|signs_and_symbols/led/"
    r"|cards/(simple|bordered|ornamental|white)|computer/(icons|buttons|diagrams)/"
)
_NO_KEYWORDS = frozenset(
    """hash theme magick icon icons clip art clipart unsorted special sign symbol mapsym shape
    shapes geometry signs_and_symbols united_nations_member festive menu work bw outline contour
    svg image inkscape public domain drawing vector ganson mimooh alt elem bb rpg""".split()  # noqa: SIM905
)
_GENERIC = re.compile(r"clip ?art|various|untitled|unnamed|drawing|\bsvg\b|\bby\b|copyright", re.I)
_ITALIAN = "rollandin"  # 200 drawings of one author are named in his language
_BLACK_AND_WHITE = 12.0  # the spread of a pixel's channels that makes a picture coloured


def attribution() -> str:
    """Returns the origin of the pictures, for the card of a model trained on them."""
    return (
        "Clip art of the Open Clip Art Library, dedicated to the public domain by its authors "
        f"({DRAWINGS.name} {DRAWINGS.version}), rendered on white."
    )


@dataclass(frozen=True)
class Drawing:
    """One SVG file and its captions."""

    path: pathlib.Path
    name: str  # its path in the library
    label: str
    captions: tuple[str, ...]


def draw(drawing: Drawing) -> Example:
    """Renders a drawing at 256 pixels.

    Raises:
        Rejected: "no caption", "blank", "no colour" or "not drawable".
    """
    captions = captions_of(drawing.captions, drawing.name)
    image = rendering.page(drawing.path.read_text(errors="replace"), drawing.name)
    rendering.check_visible(image, drawing.name)
    if colourfulness(image) < _BLACK_AND_WHITE:
        raise Rejected("no colour", drawing.name)
    return Example(image, captions, drawing.name)


def splits(data_dir: pathlib.Path) -> dict[str, rendering.Drawn[Drawing]]:
    """Returns every split as a source, held-out first; a label is in one of them only.

    Raises:
        InputError: the package cannot be fetched.
    """
    root = fetch(DRAWINGS, data_dir) / "usr/share/openclipart/svg"
    parts: dict[str, list[Drawing]] = {split: [] for split in SPLITS}
    for path in sorted(root.rglob("*.svg")):
        drawing = read_drawing(path, path.relative_to(root).as_posix())
        if drawing:
            parts[SPLITS[fraction(slug(drawing.label)) >= HELD_OUT]].append(drawing)
    return {split: rendering.Drawn(items, draw) for split, items in parts.items()}


def read_drawing(path: pathlib.Path, name: str) -> Drawing | None:
    """Reads a file's captions; None for one that is unwanted or not in the public domain."""
    if _LEFT_OUT.search(name):
        return None
    text = path.read_text(errors="replace")
    if not re.search(r"license[^>]+/public ?domain", text, re.I):
        return None
    title, *agents = _values(text, "title") or [""]
    title = " ".join(re.sub(r"\(b and w\)|[_-]", " ", title.lower()).split())
    keywords = _keywords(text, agents)
    label = _label(name, agents)
    if any(_ITALIAN in agent.lower() for agent in agents):
        label = " ".join(keywords[:2])
        title = ""
    if "/flags/" in name and label and "flag" not in label:
        label = f"flag of {label}"
    captions = [label, f"clip art of {label}"] if label else []
    extra = [word for word in keywords if word not in label]
    if label and extra:
        captions.append(", ".join([label, *extra[:3]]))
    if _adds_to(title, label):
        captions.append(title)
    return Drawing(path, name, label, tuple(dict.fromkeys(captions)))


def colourfulness(image: np.ndarray) -> float:
    """Returns the mean spread between channels of the 1 pixel in 50 that is most coloured."""
    spread = np.ptp(image.astype(np.int16), axis=2).ravel()
    return float(np.sort(spread)[-max(1, spread.size // 50) :].mean())


def _values(text: str, tag: str) -> list[str]:
    values = re.findall(rf"<dc:{tag}[^>]*>([^<]*)</dc:{tag}>", text)
    return [" ".join(html.unescape(value).split()) for value in values]


def _keywords(text: str, agents: list[str]) -> list[str]:
    keywords = [html.unescape(word).strip().lower() for word in re.findall("<rdf:li>(.*?)</", text)]
    people = {agent.lower() for agent in agents}
    words = [w.replace("_", " ") for w in keywords if w not in _NO_KEYWORDS and w not in people]
    good = [w for w in words if re.fullmatch(r"[a-z][a-z0-9' -]{1,30}", w)]
    return list(dict.fromkeys(good))


def _label(name: str, agents: list[str]) -> str:
    """Returns the words of a file's name without its number and its author (often cut short)."""
    stem = unicodedata.normalize("NFKD", pathlib.PurePosixPath(name).stem)
    words = [w for w in re.split(r"[^A-Za-z0-9]+", stem.lower()) if w]
    authors = [w for agent in agents for w in re.split(r"[^a-z]+", agent.lower()) if w]
    while len(words) > 1 and (
        words[-1].isdigit() or any(a.startswith(words[-1].rstrip("0123456789")) for a in authors)
    ):
        words.pop()
    words = [re.sub(r"\d+[a-z]?$", "", word) for word in words if word not in _NO_KEYWORDS]
    kept = [word for word in words if len(word) > 1]
    return " ".join(kept) if any(len(w) > 2 for w in kept) else ""


def _adds_to(title: str, label: str) -> bool:
    """Returns whether a title is about the label's thing and fit for a caption."""
    if not title or not title.isascii() or _GENERIC.search(title) or len(title) > 60:
        return False
    shared = set(slug(title).split("-")) & set(label.split())
    return any(len(word) > 2 for word in shared)
