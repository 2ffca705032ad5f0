"""Sources that worker processes can import: each picture says which record it is."""

import os
import sys

import numpy as np
from PIL import Image

from glide_jax.data.example import Example, Rejected
from glide_jax.data.readers import shapes


def red_and_green(folder, captions, side=16):
    """Squares of both in turn, one for each caption; one that is empty is not written."""
    folder.mkdir()
    for k, caption in enumerate(captions):
        colour = (200 + k % 50, k, 0) if k % 2 else (k, 200 + k % 50, 9)
        Image.new("RGB", (side, side), colour).save(folder / f"{k:03}.png")
        if caption:
            (folder / f"{k:03}.txt").write_text(caption)


class Numbered:
    """Record i is a picture of the grey i; records in `bad` are rejected."""

    def __init__(self, count, bad=(), side=16, captions=1):
        self.count, self.bad, self.side, self.captions = count, frozenset(bad), side, captions

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index in self.bad:
            raise Rejected("corrupt image", f"{index}.png")
        image = np.full((self.side, self.side, 3), index, np.uint8)
        captions = tuple(f"{index} said {k}" for k in range(self.captions))
        return Example(image, captions, f"{index}.png")


class Noise(Numbered):
    """Pictures in which every crop, flip and blur shows."""

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (self.side, self.side + 5, 3), np.uint8)
        return super().__getitem__(index)._replace(image=image)


class Witness(Numbered):
    """Pictures that tell of the process that reads them (see `testimony`)."""

    def __getitem__(self, index):
        image = np.zeros((16, 16, 3), np.uint8)
        backend = sys.modules.get("jax._src.xla_bridge")
        image[0, 0, 0] = "tensorflow" in sys.modules
        image[0, 0, 1] = "glide_jax.networks" in sys.modules or "flax" in sys.modules
        image[0, 0, 2] = backend is not None and bool(backend._backends)
        digits = f"{os.getpid():016d}"
        image[1, :, 0] = [int(digit) for digit in digits]
        return Example(image, ("a witness",), "witness")


class Broken(Numbered):
    """Fails as a bug would."""

    def __getitem__(self, index):
        raise ZeroDivisionError(f"record {index}")


def testimony(images):
    """What the pictures of `Witness` tell: the processes, and what any of them had imported."""
    pixels = np.rint((images + 1) * 127.5).astype(int)
    pids = {int("".join(map(str, image[1, :, 0]))) for image in pixels}
    tensorflow, models, backend = map(bool, pixels[:, 0, 0].any(0))
    return pids, {"tensorflow": tensorflow, "models": models, "backend": backend}


def scenes(count, side):
    """The first scenes of seed 0: images (count, side, side, 3) uint8 and their captions."""
    drawn = [shapes.sample_scene(np.random.default_rng((0, 0, i))) for i in range(count)]
    return np.stack([shapes.render(s, side) for s in drawn]), [shapes.caption(s) for s in drawn]
