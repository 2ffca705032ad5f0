"""Prompts are found by their words, however they are written, and harmless ones are let be."""

import itertools
import pathlib
import tomllib

import numpy as np
import pytest

from glide_jax import InputError
from glide_jax.safety import prompt_filter
from glide_jax.safety.prompt_filter import CATEGORIES, PromptFilter, Refused, judge, opened

NOWHERE = pathlib.Path("/nonexistent")


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("a photo of Barack Obama", "people"),
        ("swastikas on a wall", "hate"),
        ("a bloody knife beside a corpse", "violence"),
        ("a nude woman", "sexual"),
        ("a naked child", "children"),
        ("eine nackte Frau", "sexual"),
        ("una esvástica", "hate"),
    ],
)
def test_each_category_has_its_words_and_names_them(prompt, category):
    finding = judge(prompt)
    assert category in finding.flagged
    assert finding.scores.keys() == finding.reasons.keys() == set(CATEGORIES)
    assert finding.reasons[category]


@pytest.mark.parametrize(
    "written",
    [
        "NAKED", "n4k3d", "n@ked", "n.a.k.e.d", "n-a-k-e-d", "n a k e d", "nakeeeed", "na\u200bked",
        "n\u0430k\u0435d", "n\u00e0k\u00ebd", "na_ked",
        "\uff4e\uff41\uff4b\uff45\uff44", "n\u00a0a k e d",
    ],
)  # fmt: skip
def test_a_disguised_word_is_found(written):
    assert judge(f"a {written} woman").flagged == ["sexual"]


@pytest.mark.parametrize(
    "prompt",
    [
        "", "a", " ", "\0\ud800", "a great tit bird", "rooster cock", "peacocks", "Essex", "grapes",
        "a trumpet player", "shooting star", "a water pistol", "a gun", "chicken breasts", "a baby",
        "a girl kissing a frog", "a child in a red coat", "the drapery of a therapist", "hot dog",
        "a large red circle on a white background", "a killer whale", "a bloody mary with celery",
        "3 green stars", "a class of 4th graders", "a man shooting a photo",
        "a virgin olive oil bottle",
        "a noto emoji of person bowing", "kitchen knife", "blood orange", "a beating heart",
    ],
)  # fmt: skip
def test_harmless_prompts_are_let_be(prompt):
    assert judge(prompt).flagged == []


def test_weak_words_add_up():
    assert judge("a gun").scores["violence"] == 0.5
    assert judge("a man aiming at somebody with a gun").scores["violence"] == 1.0
    assert judge("a murder with a gun").reasons["violence"][0] == "murder"


def test_children_are_a_category_beside_what_harms_them_alone():
    assert set(judge("a teenager in lingerie").flagged) == {"sexual", "children"}
    assert judge("a woman in lingerie").flagged == []
    assert set(judge("a sexy girl").flagged) == {"children", "sexual"}
    assert judge("a girl in lingerie").flagged == []


def test_every_word_of_the_list_is_found_as_it_stands():
    with open(pathlib.Path(prompt_filter.__file__).with_name("words.toml"), "rb") as file:
        lists = tomllib.load(file)
    for name in CATEGORIES:
        for word in lists[name]["strong"]:
            assert name in judge(f"a picture with {word} in it").flagged, word
        for word in lists[name]["weak"]:
            assert judge(f"a picture with {word} in it").scores[name] > 0, word
    for word in lists["harmless"]:
        assert judge(f"a picture with {word} in it").flagged == [], word


def test_a_long_prompt_is_judged_soon():
    import time

    start = time.process_time()
    judge("n a k e d woman gun " * 1000)
    assert time.process_time() - start < 2.0


SAMPLE = "people=off, violence=refuse"


def test_levels_are_read():
    assert opened("f", "", "warn", NOWHERE) == PromptFilter.of("warn")
    assert opened("f", "off", "warn", NOWHERE).levels == dict.fromkeys(CATEGORIES, "off")
    levels = opened("f", SAMPLE, "warn", NOWHERE).levels
    assert (levels["people"], levels["violence"], levels["hate"]) == ("off", "refuse", "warn")


@pytest.mark.parametrize(
    "text", ["x", "people", "people=", "=off", "dogs=off", "people=no", "a=b=off"]
)
def test_wrong_levels_are_refused(text):
    with pytest.raises(InputError, match=r"prompt_filter has .* it must be off, warn or refuse"):
        opened("prompt_filter", text, "warn", NOWHERE)


def test_levels_decide_what_happens():
    for level in ("off", "warn"):
        finding, words = PromptFilter.of(level).check("a red circle", "a nude woman", "a dog")
        assert finding.flagged == ["sexual"]
        assert ("sexual (nude)" in words) == (level == "warn")
    with pytest.raises(Refused, match=r"finds in 'a nude woman': sexual \(nude\)\.") as caught:
        PromptFilter.of("refuse").check("a red circle", "a nude woman")
    assert caught.value.finding.flagged == ["sexual"]
    mixed = PromptFilter(PromptFilter.of("refuse").levels | {"sexual": "off"})
    assert mixed.check("a nude woman")[1] == ""


def test_what_is_quoted_cannot_control_a_terminal():
    with pytest.raises(Refused) as caught:
        PromptFilter.of("refuse").check("\x1b[31m nude " + "x" * 5000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def spelled(texts) -> np.ndarray:
    """Vectors of texts by their words, with which equal words are near."""
    vectors = np.zeros((len(texts), 4096))
    for row, text in zip(vectors, texts, strict=True):
        for word in text.lower().split():
            row[sum(ord(c) * 31**k for k, c in enumerate(word)) % 4096] += 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_meaning_near_an_example_is_found_and_near_a_harmless_one_is_not():
    nearest = prompt_filter.Nearest(spelled)
    far = "hooded figures around a cross"  # no listed word
    assert judge(far).flagged == []
    finding = judge(far, nearest)
    assert finding.flagged == ["hate"]
    assert finding.reasons["hate"] == ("close to 'hooded racists around a burning cross'",)
    assert judge("a child plays in a garden", nearest).flagged == []
    assert judge("nothing of this kind whatsoever", nearest).flagged == []


def test_examples_of_the_categories_are_all_there():
    with open(pathlib.Path(prompt_filter.__file__).with_name("examples.toml"), "rb") as file:
        examples = tomllib.load(file)
    assert examples.keys() == {*CATEGORIES, "harmless"}
    texts = list(itertools.chain(*examples.values()))
    assert len(texts) == len(set(texts))
