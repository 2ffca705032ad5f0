r"""The invisible mark: what changes leave of it, what it does to pictures, and false alarms.

    python -m launch.studies.measure_watermark --emoji DATA --photographs FOLDER

DATA holds the built set emoji_64; FOLDER holds photographs, of which pieces are taken. The tables
are printed as Markdown; they are those of docs/results/watermark.md.
"""

import argparse
import io
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from glide_jax import images, watermark
from glide_jax.data import catalogue
from glide_jax.data.readers import shapes
from glide_jax.tables import table

SIDES = (64, 256)
LEAST_PIECE = 64  # pixels of a piece of a photograph
Picture = Image.Image


def saved(image: Picture, kind: str, **how) -> Picture:
    """A picture, encoded and read again."""
    image.save(buffer := io.BytesIO(), kind, **how)
    with Image.open(buffer) as decoded:
        return decoded.convert("RGB")


def sized(image: Picture, by: float) -> Picture:
    """A picture at another size, by Pillow's own filter."""
    return image.resize((round(image.width * by), round(image.height * by)))


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "PNG": lambda image: saved(image, "PNG"),
    "JPEG 90": lambda image: saved(image, "JPEG", quality=90),
    "JPEG 75": lambda image: saved(image, "JPEG", quality=75),
    "JPEG 50": lambda image: saved(image, "JPEG", quality=50),
    "WebP 80": lambda image: saved(image, "WEBP", quality=80),
    "half size": lambda image: sized(image, 0.5),
    "0.7 times": lambda image: sized(image, 0.7),
    "twice the size": lambda image: sized(image, 2),
    "half size, JPEG 75": lambda image: saved(sized(image, 0.5), "JPEG", quality=75),
    "one pixel cut off each side": lambda image: image.crop(
        (1, 1, image.width - 1, image.height - 1)
    ),
    "5 % cut off each side": lambda image: image.crop(
        tuple(round(image.width * x) for x in (0.05, 0.05, 0.95, 0.95))
    ),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "contrast + 5 %": lambda image: Image.eval(image, lambda v: round((v - 128) * 1.05 + 128)),
}


def scenes(n: int, side: int) -> Iterator[Picture]:
    """Scenes of shapes that no run trains on."""
    for k in range(n):
        yield Image.fromarray(
            shapes.render(shapes.sample_scene(np.random.default_rng((3, k))), side)
        )


def emoji(data: pathlib.Path, n: int, side: int) -> Iterator[Picture]:
    """Emoji on white by chance; at 256 pixels they are enlarged."""
    _, source = catalogue.find_source("emoji_64", data, "train")
    for i in np.random.default_rng(7).permutation(len(source))[:n]:
        yield Image.fromarray(np.asarray(source[int(i)].image)[..., :3]).resize((side, side))


def pieces(folder: pathlib.Path, n: int, side: int) -> Iterator[Picture]:
    """Square pieces of photographs by chance, at one size."""
    rng = np.random.default_rng(5)
    photographs = [images.read(path).convert("RGB") for path in sorted(folder.iterdir())]
    for k in range(n):
        whole = photographs[k % len(photographs)]
        edge = int(rng.integers(LEAST_PIECE, min(whole.size) + 1))
        x, y = (int(rng.integers(0, room - edge + 1)) for room in whole.size)
        yield whole.resize((side, side), Image.Resampling.LANCZOS, (x, y, x + edge, y + edge))


def measured(pictures: Iterator[Picture]) -> dict[str, Any]:
    """Bits and marks that are read after each change, errors and milliseconds."""
    rng = np.random.default_rng(1)
    heard, whole = dict.fromkeys(CHANGES, 0), dict.fromkeys(CHANGES, 0)
    decibels, writing, reading, false, n = [], [], [], 0, 0
    for image in pictures:
        n, tag = n + 1, int(rng.integers(1 << watermark.TAG_BITS))
        start = time.perf_counter()
        marked = watermark.marked(image, tag)
        writing.append(1e3 * (time.perf_counter() - start))
        error = np.asarray(marked, np.float64) - np.asarray(image, np.float64)
        decibels.append(10 * np.log10(255**2 / max(np.mean(error**2), 1e-9)))
        written = watermark.bits_heard(marked)
        for name, change in CHANGES.items():
            changed = change(marked)
            heard[name] += int(np.sum(watermark.bits_heard(changed) == written))
            whole[name] += watermark.read(changed) == tag
        start = time.perf_counter()
        false += watermark.read(image) is not None
        reading.append(1e3 * (time.perf_counter() - start))
    bits = {name: 100 * count / (n * watermark.BITS) for name, count in heard.items()}
    marks = {name: 100 * count / n for name, count in whole.items()}
    return dict(n=n, bits=bits, marks=marks, decibels=decibels, writing=writing, reading=reading,
                false=false)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emoji", type=pathlib.Path, required=True)
    parser.add_argument("--photographs", type=pathlib.Path, required=True)
    parser.add_argument("--n", type=int, default=1000, help="pictures of each kind and size")
    args = parser.parse_args()
    kinds: dict[str, Callable[[int], Iterator[Picture]]] = {
        "shapes": lambda side: scenes(args.n, side),
        "emoji": lambda side: emoji(args.emoji, args.n, side),
        "photographs": lambda side: pieces(args.photographs, args.n, side),
    }
    found = {(name, side): measured(make(side)) for side in SIDES for name, make in kinds.items()}
    head = [f"{name}, {side} px" for name, side in found]
    rows = [
        [name, *(f"{f['bits'][name]:.2f} ({f['marks'][name]:.1f})" for f in found.values())]
        for name in CHANGES
    ]
    print(table(rows, ["bits (whole marks) read, %", *head]), end="\n\n")
    at = lambda name, share: [f"{np.percentile(f[name], share):.1f}" for f in found.values()]
    rows = [
        ["PSNR, dB: mean", *(f"{np.mean(f['decibels']):.1f}" for f in found.values())],
        ["PSNR, dB: least of a hundred", *at("decibels", 1)],
        ["ms to mark, median", *at("writing", 50)],
        ["ms to read, median", *at("reading", 50)],
        ["marks in pictures without one", *(f"{f['false']} of {f['n']:,}" for f in found.values())],
    ]
    print(table(rows, ["", *head]))


if __name__ == "__main__":
    main()
