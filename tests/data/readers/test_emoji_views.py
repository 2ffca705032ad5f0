"""Parts of the emoji set, and captions that always name the style."""

import numpy as np
import pytest

from glide_jax.data.example import Example
from glide_jax.data.readers.emoji_views import Flat, Named, is_flat, main_colours


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("flat/red-apple", True),
        ("twemoji/kiss-mark", True),
        ("emojione/womans-hat", True),
        ("emojione/manual-wheelchair", True),
        ("3d/red-apple", False),
        ("noto/red-apple", False),
        ("flat/flag-of-france", False),
        ("flat/flag-in-hole", True),
        ("flat/woman", False),
        ("twemoji/man-cook", False),
        ("twemoji/kiss-man-man", False),
    ],
)
def test_flags_people_and_styles_that_are_not_flat_are_left_out(name, kept):
    assert is_flat(name) is kept


def square(*colours):
    """White, with as many equal stripes in the middle as there are colours."""
    image = np.full((8, 8, 3), 255, np.uint8)
    for k, colour in enumerate(colours):
        image[2:6, 2 * k : 2 * k + 2] = colour
    return image


RED, BLUE, GREEN, YELLOW = (221, 46, 68), (59, 136, 195), (92, 145, 59), (255, 204, 77)


@pytest.mark.parametrize(
    ("colours", "named"),
    [
        ((RED,), ("red",)),
        ((BLUE, RED, BLUE), ("blue", "red")),
        ((RED, GREEN, GREEN, YELLOW), ("green", "red")),
        ((), ()),
    ],
)
def test_colours_are_named_by_what_they_cover_and_paper_is_none(colours, named):
    assert main_colours(square(*colours)) == named


class Records(list):
    def record(self, i):
        return {"name": self[i].name}

    def captions_at(self, i):
        return list(self[i].captions)


SET = Records(
    [
        Example(square(RED), ("red apple", "a 3d emoji of red apple"), "3d/red-apple"),
        Example(square(BLUE, RED), ("ball", "a flat emoji of ball"), "flat/ball"),
        Example(square(), ("cloud",), "twemoji/cloud"),
    ]
)


def test_a_part_of_the_set_is_a_source_of_its_own():
    flat = Flat(SET)
    assert [flat[i].name for i in range(len(flat))] == ["flat/ball", "twemoji/cloud"]
    assert flat.captions_at(1) == ["cloud"]


def test_every_caption_names_the_style_once_and_half_of_them_the_colours():
    named = Named(SET)
    assert named[1].captions == (
        "ball, flat style", "a flat emoji of ball",
        "ball, flat style, blue and red", "a flat emoji of ball, blue and red",
    )  # fmt: skip
    assert named[0].captions[0] == "red apple, 3d style"
    assert named[2].captions == ("cloud, twemoji style",) * 2
    assert len(named) == 3
    np.testing.assert_array_equal(named[1].image, SET[1].image)
