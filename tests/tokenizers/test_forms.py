"""The forms of captions: what fits, what is nearest, and files that say neither."""

import pytest

from glide_jax.data.readers import procedural, shapes
from glide_jax.errors import InputError
from glide_jax.tokenizers import forms

SHAPES = procedural.Scenes(count=1).forms


def test_every_caption_of_the_set_fits_and_is_its_own_nearest():
    captions = shapes.captions()
    assert all(map(SHAPES.fit, captions[::7]))
    assert all(SHAPES.nearest(text) == text for text in captions[::997])


@pytest.mark.parametrize("prompt", ["", " \n", "A  Large RED circle on a white background. "])
def test_case_spaces_and_a_full_stop_are_free_and_a_blank_prompt_is_of_every_form(prompt):
    assert SHAPES.fit(prompt)


@pytest.mark.parametrize(
    ("prompt", "nearest"),
    [
        ("a green heart on a gray background", "a large green heart on a gray background"),
        ("a circle", "a large red circle on a white background"),
        ("circles", "two red circles on a white background"),
        ("a orange square on black background", "a large orange square on a black background"),
        ("four hearts", "four red hearts on a white background"),
        ("five red stars on a white background", "two red stars on a white background"),
        ("a big red circle on a white background", "a large red circle on a white background"),
        ("red star and blue ring", "a red star and a blue ring on a white background"),
        (
            "a red circle left of an orange square",
            "a red circle to the left of an orange square on a white background",
        ),
        ("an oil painting of a corgi", "a large red circle on a white background"),
        ("x " * 5000, "a large red circle on a white background"),
    ],
)
def test_the_nearest_keeps_as_many_words_as_it_can(prompt, nearest):
    assert not SHAPES.fit(prompt)
    assert SHAPES.nearest(prompt) == nearest
    assert SHAPES.fit(nearest)


def test_where_captions_are_free_every_prompt_fits():
    assert forms.Forms("an emoji").fit("a purple cow")


def test_plain_objects_fit_where_they_are_taught():
    plain = procedural.Scenes(count=1, kinds=("plain", "above")).forms
    assert plain.forms == (
        "a {colour} {shape} on a {background} background",
        "a {colour} {shape} {relation} a {colour} {shape} on a {background} background",
    )
    assert "number" not in plain.words
    assert plain.fit("a green heart on a gray background")
    assert not plain.fit("a large green heart on a gray background")


def test_a_file_is_read_as_it_was_written():
    read = forms.parse_forms(SHAPES.record() | {"forms": [*SHAPES.forms], "words": {
        slot: [*words] for slot, words in SHAPES.words.items()}}, "f")  # fmt: skip
    assert read == SHAPES


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"form": []}, "unknown field 'form'"),
        ({"forms": "a {shape}"}, "forms must be a list"),
        ({"words": []}, "forms must be a list"),
        ({"forms": [], "words": {"shape": "ring"}}, "forms must be a list"),
        ({"forms": [7]}, "a text is 7"),
        ({"about": "\x1b[31m"}, "must be printable"),
        ({"forms": ["a {shape}"]}, "'{shape}' without words"),
        ({"forms": ["a {shape}"], "words": {"shape": []}}, "'{shape}' without words"),
        ({"forms": [" "]}, "a blank form"),
        ({"about": "x" * 1001}, "over 1000 letters"),
        ({"forms": ["a " * 49]}, "over 48"),
        ({"words": {"shape": ["ring"] * 501}}, "over 500"),
    ],
)
def test_a_damaged_file_is_one_sentence(values, says):
    with pytest.raises(InputError, match=says.replace("{", r"\{")):
        forms.parse_forms(values, "forms.json")
