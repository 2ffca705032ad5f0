"""Packages of three icons and a few labels, as their clients would have left them."""

import json
import pathlib

from PIL import Image

from glide_jax.data.recipes import emoji

LABELS = [
    ("red apple", "1F34E", ["fruit", "ripe", "apple"], 4),
    ("bell", "1F514", ["alarm", "sound", "church", "ring"], 7),
    ("flag: France", "1F1EB-1F1F7", ["FR"], 9),
    ("grinning face", "1F600", ["cheerful", "happy", "nice", "teeth", "smile"], 0),
    ("one o’clock", "1F550", [], 5),  # noqa: RUF001  as the package writes it
    ("light skin tone", "1F3FB", [], 2),
]
GROUPS = ["smileys-emotion", "people-body", "component", "animals-nature", "food-drink",
          "travel-places", "activities", "objects", "symbols", "flags"]  # fmt: skip


def square(colour: str, size: int = 10) -> str:
    return f'<rect x="4" y="4" width="{size}" height="{size}" fill="{colour}"/>'


def write(data_dir: pathlib.Path) -> None:
    """Every package that emoji need, with a few icons in each."""
    root = data_dir / "packages"
    labels = root / emoji.LABELS.slug
    (labels / "en").mkdir(parents=True)
    (labels / "meta").mkdir()
    entries = [
        {"label": label, "hexcode": code, "tags": tags, "group": group}
        for label, code, tags, group in LABELS
    ]
    entries[3]["skins"] = [{"label": "grinning face: dark", "hexcode": "1F600-1F3FF"}]
    (labels / "en/data.json").write_text(json.dumps(entries))
    groups = {"groups": {str(k): name for k, name in enumerate(GROUPS)}}
    (labels / "meta/groups.json").write_text(json.dumps(groups))
    for k, style in enumerate(emoji.STYLES):
        folder = root / style.package.slug
        folder.mkdir()
        if style.word == "3d":
            (folder / "assets").mkdir()
            for code, colour in (("1f34e", (200, 0, 0, 255)), ("1f600", (0, 0, 0, 0))):
                Image.new("RGBA", (256, 256), colour).crop((-40, -40, 216, 216)).save(
                    folder / f"assets/{code}.webp"
                )
        else:
            write_icons(folder, k)


def write_icons(folder: pathlib.Path, k: int) -> None:
    icons = {
        "apple": {"body": square(f"rgb(20{k},0,0)")},  # labelled by its code alone
        "bell": {"body": square(f"rgb(0,20{k},0)"), "width": 40},
        "grinning-face-dark": {"body": square("brown")},
        "nobody-knows": {"body": square("blue")},
        "red-apple": {"body": square("pink"), "hidden": True},
        "grinning-face": {"body": square(f"rgb(0,0,20{k})")},
    }
    data = {"prefix": "p", "icons": icons, "width": 20, "height": 20}
    (folder / "icons.json").write_text(json.dumps(data))
    (folder / "chars.json").write_text(json.dumps({"1f34e": "apple"}))
