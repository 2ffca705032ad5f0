r"""The marks of pictures: what is left of them after common changes, and false claims of `verify`.

    python -m launch.studies.measure_marks FOLDER ...

FOLDERs hold pictures that are not ours. The tables are printed as Markdown; they are those of
docs/results/marks.md.
"""

import collections
import io
import math
import pathlib
import sys
import tempfile
from collections.abc import Callable

import numpy as np
from PIL import Image, PngImagePlugin

from glide_jax import images, provenance
from glide_jax.errors import InputError
from glide_jax.safety import credentials, verifying

KINDS = ("png", "jpeg", "webp")
DRAWN = {"model": "shapes", "edit": None, "prompt": "a large red circle"}
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def drawn(kind: str) -> bytes:
    """A picture of ours of 64 pixels a side, signed if this process signs."""
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    image = Image.fromarray(np.stack(np.broadcast_arrays(ramp[:, None], ramp, ramp[::-1]), -1))
    if kind != "png":
        return images.lossy(image, kind, 90, provenance.TRAINED, DRAWN)
    images.save_png(buffer := io.BytesIO(), image, DRAWN)
    return buffer.getvalue()


def saved(image: Image.Image, kind: str, keeps: bool = False) -> bytes:
    """A picture as Pillow saves it, by default or by a program that hands its records on."""
    how = {}
    if keeps and kind == "png":
        how["pnginfo"] = PngImagePlugin.PngInfo()
        for name, text in image.info.items():
            if isinstance(name, str) and isinstance(text, str):
                how["pnginfo"].add_itxt(name, text)
    elif keeps:
        how["xmp"] = image.info["xmp"]
    image.save(buffer := io.BytesIO(), kind, **how)
    return buffer.getvalue()


def half(image: Image.Image) -> Image.Image:
    """The picture at half its size, with its records."""
    return image.resize((image.width // 2, image.height // 2))


CHANGES: dict[str, Callable[[bytes, Image.Image, str], tuple[bytes, str]]] = {
    "none (a copy of the file)": lambda data, image, kind: (data, kind),
    "saved again by Pillow": lambda data, image, kind: (saved(image, kind), kind),
    "saved again, records handed on": lambda data, image, kind: (saved(image, kind, True), kind),
    "half the size, records handed on": lambda d, im, kind: (saved(half(im), kind, True), kind),
    "cropped, records handed on": lambda data, image, kind: (
        saved(image.crop((8, 8, 56, 56)), kind, True), kind,
    ),
    "to PNG": lambda data, image, kind: (saved(image, "png"), "png"),
    "to JPEG": lambda data, image, kind: (saved(image, "jpeg"), "jpeg"),
    "to WebP": lambda data, image, kind: (saved(image, "webp"), "webp"),
    "to JPEG, records handed on": lambda d, image, kind: (saved(image, "jpeg", True), "jpeg"),
}  # fmt: skip


def survival(folder: pathlib.Path) -> None:
    """Prints what is left of each mark after each change."""
    print("| file | change | source type | prompt and settings | C2PA | `verify` |")
    print("|---|---|---|---|---|---|")
    for kind in KINDS:
        for name, change in CHANGES.items():
            data, to = drawn(kind), kind
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                data, to = change(data, image, kind)
            path = folder / f"a.{to}"
            path.write_bytes(data)
            with Image.open(path) as image:
                source = provenance.claims(image.info.get("xmp")).source
                parameters = images.METADATA in image.info
            verdict = verifying.verify(path)
            record = verdict.words.partition("C2PA record ")[2].split(",")[0].split(" (")[0]
            found = {True: "altered", False: "as written", None: "cannot be told"}
            words = f"ours, {found[verdict.altered]}" if verdict.ours else "not ours"
            yes = lambda there: "yes" if there else "no"
            cells = kind.upper(), name, yes(source), yes(parameters), record.rstrip(".") or "no"
            print(f"| {' | '.join(cells)} | {words} |")


def false_claims(folders: list[pathlib.Path]) -> None:
    """Prints how many pictures of others `verify` takes for ours."""
    paths = sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    kinds, wrong, unread = collections.Counter(), [], 0
    for path in paths:
        try:
            if verifying.verify(path).ours:
                wrong.append(path)
        except InputError:
            unread += 1
            continue
        kinds[path.suffix.lower().lstrip(".")] += 1
    n = sum(kinds.values())
    print(f"\n{n} pictures ({', '.join(f'{k}: {v}' for k, v in kinds.most_common())}), ", end="")
    print(f"{unread} more that are none; taken for ours: {len(wrong)}", end="")
    # The rule of Clopper and Pearson for no hit.
    print(
        f", so at most {100 * (1 - math.exp(math.log(0.05) / n)):.2f} % (95 %)" if not wrong else ""
    )
    for path in wrong:
        print(f"- {path}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        provenance.sign_by(credentials.signer(credentials.self_made(folder)[0]))
        survival(folder)
        provenance.sign_by(None)
    false_claims([pathlib.Path(name) for name in sys.argv[1:]])


if __name__ == "__main__":
    main()
