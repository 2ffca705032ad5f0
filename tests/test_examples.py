"""The prompts of README, docs and code that show the model in the box: it understands each."""

import itertools
import re
import shlex

import pytest

from glide_jax.data.readers import procedural
from glide_jax.model_dir import reading
from glide_jax.tokenizers.forms import Forms
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = sorted([*(ROOT / "glide_jax").rglob("*.py"), *(ROOT / "configs").rglob("*.py")])
# Quoted, or one of README's four forms; prompts of the box end so, and no others do.
CAPTION = re.compile(r"""(?:["'=]|^ {4})((?:an?|two|three|four) [a-z ]+ background)\b""", re.M)
# Where a prompt is given to whatever model serves, which is the one in the box.
PLACES = re.compile(
    r"""PROMPT="([^"]+)"|glide\("([^"]+)"|"prompt": "([^"]+)"|'prompt=([^']+)'"""
    r"""|\bprompt="([^"]+)\""""
)
PROMPTS = {"sample": slice(0, None), "inpaint": slice(1, 2), "edit": slice(1, 2),
           "upscale": slice(1, 2), "vary": slice(1, 2), "interpolate": slice(0, 2)}  # fmt: skip


def drawn_by_the_box(line: str) -> list[str]:
    """The prompts of a command that the model in the box is to draw; none of other lines."""
    try:
        words = shlex.split(line.strip(), comments=True)
    except ValueError:  # no command
        return []
    if words[:1] != ["glide-jax"] or len(words) < 3 or words[1] not in PROMPTS:
        return []
    if "--model" in words and not words[words.index("--model") + 1].startswith("shapes"):
        return []
    plain = [
        word
        for before, word in itertools.pairwise(words[1:])
        if not word.startswith("-") and not before.startswith("--")
    ]
    return [word for word in plain[PROMPTS[words[1]]] if word not in ("...", "MODEL.program")]


def examples() -> dict[str, str]:
    """Every prompt of README and docs for the model in the box, and where it is."""
    found = {}
    for page in PAGES:
        text = page.read_text()
        places = [next(filter(None, groups)) for groups in PLACES.findall(text)]
        commands = [prompt for line in text.splitlines() for prompt in drawn_by_the_box(line)]
        found |= dict.fromkeys([*CAPTION.findall(text), *places, *commands], page.name)
    return found


def boxed_forms(name: str) -> Forms:
    """The forms of a model in the box."""
    forms = reading.read_forms(reading.BOXED / name)
    assert forms is not None
    return forms


def test_examples_are_found_wherever_they_are():
    found = examples()
    assert {"README.md", "start.md", "serving.md"} <= set(found.values())
    assert len(found) > 10
    assert drawn_by_the_box('glide-jax edit a.png "b c" --strength 0.6 "d"') == ["b c"]
    assert drawn_by_the_box('glide-jax sample --model emoji "a cat"') == []


@pytest.mark.parametrize("prompt", examples())
def test_an_example_has_a_form_that_the_model_in_the_box_understands(prompt):
    forms = boxed_forms("shapes")
    assert forms.fit(prompt), forms.nearest(prompt)


def test_prompts_in_code_have_one_too():
    forms = boxed_forms("shapes")
    found = {text for path in CODE for text in CAPTION.findall(path.read_text())}
    assert len(found) > 8
    assert [text for text in found if not forms.fit(text)] == []


@pytest.mark.parametrize("name", ["shapes", "shapes-inpaint", "shapes-few"])
def test_the_forms_in_the_box_are_those_of_the_set_and_on_its_card_and_in_readme(name):
    forms = boxed_forms(name)
    assert forms == procedural.Scenes(count=1).forms
    for page in (ROOT / "README.md", reading.BOXED / "shapes" / "README.md"):
        shown = [text for text in CAPTION.findall(page.read_text()) if forms.fit(text)]
        used = [
            {k for k, form in enumerate(forms.forms) if Forms("", (form,), forms.words).fit(text)}
            for text in shown
        ]
        assert set().union(*used) == {0, 1, 2, 3}, page


@pytest.mark.slow
def test_every_example_is_drawn_as_it_says():
    import glide_jax
    from glide_jax.evaluation import shapes_judge

    prompts = list(examples())
    pictures = glide_jax.load("shapes")(prompts, n=4, batch_size=8, upsample=False)
    right = dict.fromkeys(prompts, 0)
    for picture in pictures:
        prompt = picture.parameters["prompt"]
        right[prompt] += shapes_judge.judge_caption(picture.array, prompt).all
    assert {prompt: n for prompt, n in right.items() if n < 3} == {}
    assert sum(right.values()) >= 0.9 * len(pictures)
