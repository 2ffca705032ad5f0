"""Sentences about prompts that a model does not understand as they are meant."""

import dataclasses
import warnings
from types import SimpleNamespace
from typing import Any, cast

import pytest

from glide_jax import tokenizers
from glide_jax.data.readers import procedural
from glide_jax.model_dir import disk, reading
from glide_jax.sampling import notes
from glide_jax.tokenizers import PromptTruncated
from glide_jax.tokenizers.protocol import PromptOutside

FORMS = procedural.Scenes(count=1).forms
RIGHT = "a large red circle on a white background"
PLAIN = "a green heart on a gray background"


@pytest.fixture(scope="module")
def loaded():
    folder = reading.BOXED / "shapes"
    tokenizer = tokenizers.load(disk.read_config(folder)["tokenizer"], folder)
    stage = SimpleNamespace(context=24, styles=())
    return SimpleNamespace(name="shapes", forms=FORMS, tokenizer=tokenizer, stages={"base": stage})


def test_there_is_none_about_a_prompt_of_a_form_or_where_no_forms_are_known(loaded):
    assert notes.notes(loaded, [RIGHT, ""]) == ()
    loaded = SimpleNamespace(**{**vars(loaded), "forms": None})
    assert notes.outside(cast("Any", loaded), [PLAIN]) is None


def test_one_sentence_has_the_first_prompt_the_number_of_the_others_and_the_nearest(loaded):
    said = notes.outside(loaded, [RIGHT, PLAIN, "a dog", PLAIN, "a cat"])
    assert said is not None
    assert said.startswith(f"prompt {PLAIN!r} (and 2 more of the prompts) has none of the forms")
    assert said.endswith("is 'a large green heart on a gray background'.")


def test_a_prompt_that_is_cut_is_said_with_its_lost_end_as_the_tokenizer_warns(loaded):
    long = " and ".join(["a large red circle"] * 9)
    [_, cut] = notes.notes(loaded, [long])
    with pytest.warns(PromptTruncated) as caught:
        loaded.tokenizer([long], 24)
    assert str(caught[0].message) == cut
    for length in range(8, 40):  # and only one that is cut
        text = " ".join(["ring"] * length)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded.tokenizer([text], 24)
        assert len(caught) == len(notes.notes(loaded, [text])) - 1


def test_a_call_warns_once_of_all_its_prompts(glide, monkeypatch):
    monkeypatch.setattr(glide, "loaded", dataclasses.replace(glide.loaded, forms=FORMS))
    with pytest.warns(PromptOutside) as caught:
        glide([PLAIN, RIGHT, "a dog"], steps=1, upsample=False, mix=[("a cat", 0.5)])
    [said] = [str(w.message) for w in caught if w.category is PromptOutside]
    assert "and 2 more" in said
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptOutside)
        glide(RIGHT, steps=1, upsample=False)
