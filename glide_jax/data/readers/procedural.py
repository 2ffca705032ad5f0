"""Scenes of coloured shapes drawn when they are asked for: a source without files or an end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glide_jax import checks
from glide_jax.data.example import Example
from glide_jax.data.readers import shapes
from glide_jax.tokenizers.forms import Forms

KINDS = ("single", *shapes.KINDS)  # single objects, from which outlines are learned, twice
_FORMS = {  # kind: its captions, but for the background
    "single": "a {size} {colour} {shape}",
    shapes.PLAIN: "a {colour} {shape}",
    "count": "{number} {colour} {shapes}",
    "pair": "a {colour} {shape} and a {colour} {shape}",
    "relation": "a {colour} {shape} {relation} a {colour} {shape}",
}
_WORDS = {  # slot: its words, the first of which is a good example
    "size": ("large", "small"),
    "colour": tuple(shapes.COLOURS),
    "shape": shapes.SHAPES,
    "number": tuple(shapes.COUNTS),
    "shapes": tuple(map(shapes.plural, shapes.SHAPES)),
    "relation": ("above", "below", "to the left of", "to the right of"),
    "background": tuple(shapes.BACKGROUNDS),
}
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
            checks.one_of("kinds", kind, (*shapes.KINDS, shapes.PLAIN, *shapes.RELATIONS))
        self[0]  # a wrong side or split fails here and not in a worker process

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng((self.seed, index))
        scene = shapes.sample_scene(rng, split=self.split, kinds=self.kinds)
        picture = shapes.render(scene, self.side)
        return Example(picture, (shapes.caption(scene),), f"{self.split}/{index}")

    @property
    def forms(self) -> Forms:
        """The forms that a model which is trained on these scenes understands."""
        kinds = {"relation" if kind in shapes.RELATIONS else kind for kind in self.kinds}
        forms = [text for kind, text in _FORMS.items() if kind in kinds]
        return Forms(
            "one to four flat shapes on a plain background",
            tuple(f"{form} on a {{background}} background" for form in forms),
            {
                slot: words
                for slot, words in _WORDS.items()
                if slot == "background" or any(f"{{{slot}}}" in form for form in forms)
            },
        )

    def all_captions(self) -> list[str]:
        """Returns every possible caption, since the scenes are too many to list."""
        return shapes.captions(self.split)
