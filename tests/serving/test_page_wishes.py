"""The fields of the page as calls."""

import dataclasses

import pytest
from PIL import Image

from glide_jax.data.readers import procedural
from glide_jax.errors import InputError
from glide_jax.sampling.glide import Glide
from glide_jax.serving import page_desks, page_wishes
from glide_jax.serving.protocol import Limits

PROMPT = "a large red circle on a white background"
FIELDS = {"prompt": PROMPT, "n": 2, "seed": "7", "steps": "3", "guidance_scale": "2"}


@pytest.fixture
def maker(glide_full):
    return page_wishes.Maker(glide_full, Limits(n=3, steps=50, prompt=60, pixels=10_000))


def test_a_wish_has_a_call_for_each_picture(maker):
    wish = maker.draw(FIELDS)
    assert [call.first_index for call in wish.calls] == [0, 1]
    assert wish.seed == 7
    assert maker.draw({"prompt": PROMPT}).seed != maker.draw({"prompt": PROMPT}).seed


def test_a_wish_has_notes_about_prompts_that_mean_something_else(glide_full):
    forms = procedural.Scenes(count=1).forms
    known = Glide(dataclasses.replace(glide_full.loaded, forms=forms))
    maker = page_wishes.Maker(known, Limits(steps=50))
    (note,), _ = page_desks.made(lambda: maker.draw({**FIELDS, "prompt": "a dog"}).notes)
    assert note.startswith("prompt 'a dog' has none of the forms")
    assert maker.draw({**FIELDS, "prompt": ""}).notes == ()
    assert len(maker.between({**FIELDS, "prompt": ""}, "a dog", 2).notes) == 1


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("n", 4, "n is 4; it must be a whole number from 1 to 3"),
        ("seed", "-1", "seed is '-1'"),
        ("steps", "51", "steps is '51'; it must be a whole number from 1 to 50"),
        ("steps", "fast27", "steps is 'fast27'"),
        ("guidance_scale", "nan", "guidance_scale is 'nan'"),
        ("prompt", "x" * 61, "61 characters"),
        ("negative_prompt", "x" * 61, "61 characters"),
    ],
)
def test_a_wrong_field_is_one_sentence(maker, field, value, words):
    with pytest.raises(InputError) as wrong:
        maker.draw({**FIELDS, field: value})
    assert words in str(wrong.value)


def test_nothing_painted_and_too_much_extended_are_refused(maker):
    picture, mask = Image.new("RGB", (40, 40)), Image.new("L", (40, 40))
    with pytest.raises(InputError, match="nothing is painted"):
        maker.repaint(FIELDS, picture, mask)
    with pytest.raises(InputError, match="at most 10000"):
        maker.repaint(FIELDS, picture, mask, extend=(100, 0, 0, 100))
    assert maker.repaint(FIELDS, picture, mask, extend=(0, 0, 8, 0)).calls[0].edit.record
    with pytest.raises(InputError, match="at most 262144"):
        maker.enlarge(FIELDS, Image.new("RGB", (600, 600)))


def test_parameters_come_back_as_fields_and_as_the_same_wish(maker, glide_full):
    [p] = glide_full.parameters(PROMPT, seed=7, steps=5, negative_prompt="blue", batch_size=1)
    fields = page_wishes.fields_of(p)
    assert fields["seed"] == "7"
    assert fields["steps"] == "5"
    assert page_wishes.changed(p, fields) == p
    assert maker.again(p, None, None).calls[0].seed == 7
    other = page_wishes.changed(p, {**fields, "seed": "8", "steps": "6", "negative_prompt": ""})
    assert other["seed"] == 8
    assert other["base"]["steps"] == "6"
    assert "negative_prompt" not in other
    assert maker.again(other, None, None).calls[0].seed == 8


def test_parameters_cannot_make_the_server_read_its_own_files(maker, glide_full, tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "secret.png")
    [picture] = glide_full.edit(tmp_path / "secret.png", PROMPT, steps=2, batch_size=1)
    assert picture.parameters["edit"]["image"]["path"]
    with pytest.raises(InputError, match="the image that went in was no file; give it"):
        maker.again(picture.parameters, None, None)
    p = {**glide_full.parameters(PROMPT, steps=2)[0], "autoguidance_model": str(tmp_path)}
    with pytest.raises(InputError, match="another model"):
        maker.again(p, None, None)


def test_a_batch_is_drawn_alone_and_a_heavy_one_is_refused(maker, glide_full):
    [p] = glide_full.parameters(PROMPT, batch_size=4000)
    assert maker.again({**p, "batch_size": 4000}, None, None).calls[0].n == 1
    [p] = glide_full.parameters(PROMPT, steps=900, batch_size=1)
    with pytest.raises(InputError, match="steps is '900'"):
        maker.again(p, None, None)
