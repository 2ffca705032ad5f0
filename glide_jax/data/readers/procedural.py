"""Scenes of coloured shapes drawn when they are asked for: a source without files or an end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glide_jax import checks
from glide_jax.data.example import Example
from glide_jax.data.readers import shapes

KINDS = ("single", *shapes.KINDS)  # single objects, from which outlines are learned, twice
ENDLESS = 2**31 - 1  # the most that a shuffle's 32-bit positions can address


@dataclass(frozen=True)
class Scenes:
    """`count` pictures of a split, `side` pixels large; number i is a function of (seed, i).

    A kind of scene is drawn as often as `kinds` repeats it.

    Raises:
        InputError: a field is out of range.
    """

    side: int = 64
    split: str = "train"
    seed: int = 0
    kinds: Sequence[str] = KINDS
    count: int = ENDLESS

    def __post_init__(self):
        checks.whole("size", self.count, 1, ENDLESS)
        checks.whole("seed", self.seed, 0, 2**32 - 1)
        for kind in self.kinds:
            checks.one_of("kinds", kind, (*shapes.KINDS, *shapes.RELATIONS))
        self[0]  # a wrong side or split fails here and not in a worker process

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng((self.seed, index))
        scene = shapes.sample_scene(rng, split=self.split, kinds=self.kinds)
        picture = shapes.render(scene, self.side)
        return Example(picture, (shapes.caption(scene),), f"{self.split}/{index}")

    def all_captions(self) -> list[str]:
        """Returns every possible caption, since the scenes are too many to list."""
        return shapes.captions(self.split)
