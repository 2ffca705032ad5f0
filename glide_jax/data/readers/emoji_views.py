"""The emoji set seen otherwise: some of its pictures, or captions that always name the style."""

import functools
import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from glide_jax.data.example import Example, Source
from glide_jax.data.readers.built import Built
from glide_jax.tokenizers.styles import name_style

FLAT_STYLES = ("twemoji", "flat", "emojione")
# Labels of flags, and of the many people that differ in sex, work and hair alone.
_LEFT_OUT = re.compile(
    r"flag-of|(man|woman|men|women|boy|girl|person|people|family|couple|kiss)(-|$)(?!mark)"
)
# Names of colours, each with what it looks like in flat drawings, sRGB.
_PALETTE = {
    "red": ((221, 46, 68), (190, 25, 49), (255, 90, 90)),
    "orange": ((244, 144, 12), (255, 172, 51), (240, 110, 40)),
    "yellow": ((255, 204, 77), (255, 220, 93), (252, 225, 50)),
    "green": ((119, 178, 85), (62, 114, 29), (92, 145, 59), (50, 160, 80)),
    "blue": ((85, 172, 238), (59, 136, 195), (34, 102, 153), (30, 80, 200), (136, 201, 249)),
    "purple": ((170, 142, 214), (116, 78, 170), (140, 60, 160)),
    "pink": ((244, 171, 186), (234, 89, 110), (255, 130, 190)),
    "brown": ((193, 105, 79), (138, 75, 56), (102, 69, 0), (160, 110, 60)),
    "gray": ((153, 170, 181), (204, 214, 221), (120, 120, 120), (102, 117, 127)),
    "black": ((41, 47, 51), (10, 10, 10)),
}
_NAMES = tuple(name for name, looks in _PALETTE.items() for _ in looks)
_LOOKS = np.array([look for looks in _PALETTE.values() for look in looks], np.int32)
_WHITE, _LEAST = 235, 0.2  # a channel's value from which it is paper; least part of the rest


@dataclass(frozen=True)
class Flat:
    """The pictures of three flat styles, but for flags and people that differ in little."""

    whole: Built

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Example:
        return self.whole[self._kept[index]]

    def captions_at(self, index: int) -> list[str]:
        """Returns a record's captions, without decoding its picture."""
        return self.whole.captions_at(self._kept[index])

    @functools.cached_property
    def _kept(self) -> list[int]:
        names = (self.whole.record(i)["name"] for i in range(len(self.whole)))
        return [i for i, name in enumerate(names) if is_flat(name)]


@dataclass(frozen=True)
class Named:
    """A set of emoji whose captions all name the style, and half of them the main colours."""

    source: Source
    # To find the colours takes longer than to decode the picture, so each is looked at once.
    _colours: dict[int, str] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        example = self.source[index]
        style = example.name.partition("/")[0]
        plain = [name_style(caption, (style,)) for caption in example.captions]
        if index not in self._colours:
            self._colours[index] = " and ".join(main_colours(example.image))
        colours = self._colours[index]
        seen = [f"{caption}, {colours}" for caption in plain] if colours else plain
        return example._replace(captions=(*plain, *seen))


def is_flat(name: str) -> bool:
    """Whether a picture of the set, by its name, is of those that `Flat` keeps."""
    style, _, concept = name.partition("/")
    return style in FLAT_STYLES and not _LEFT_OUT.match(concept)


def main_colours(image: NDArray[np.uint8], most: int = 2) -> tuple[str, ...]:
    """Returns the names of the colours that cover a fifth or more of what is not white, most first.

    Args:
        image: (h, w, 3), on white.
        most: names at the most.
    """
    pixels = image.reshape(-1, 3).astype(np.int32)
    pixels = pixels[(pixels < _WHITE).any(axis=1)]
    if not len(pixels):
        return ()
    nearest = ((pixels[:, None] - _LOOKS) ** 2).sum(axis=-1).argmin(axis=1)
    names, counts = np.unique(np.array(_NAMES)[nearest], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return tuple(str(names[k]) for k in order if counts[k] >= _LEAST * len(pixels))
