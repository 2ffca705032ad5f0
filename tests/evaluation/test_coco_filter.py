"""What a filter of COCO leaves, and that the result says so."""

import dataclasses
import json

import pytest

from glide_jax.errors import InputError
from glide_jax.evaluation import protocols
from glide_jax.evaluation.evaluate import Evaluator
from tests.data.readers import test_coco
from tests.evaluation.oracle import Oracle


@pytest.fixture
def layout(tmp_path):
    """Four pictures: words tell of people in 0, outlines show them in 1."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2014").mkdir()
    table = test_coco.notes(4)
    captions = {0: ["A man on a bench."], 10: ["a cat"], 20: ["two dogs"], 30: ["a humane bus"]}
    table["annotations"] = [
        {"id": i, "image_id": image, "caption": text}
        for i, (image, texts) in enumerate(captions.items())
        for text in texts
    ]
    (tmp_path / "annotations/captions_val2014.json").write_text(json.dumps(table))
    outlines = {
        "images": table["images"],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "cat"}],
        "annotations": [{"image_id": 10, "category_id": k} for k in (1, 2)]
        + [{"image_id": 20, "category_id": 2}],
    }
    (tmp_path / "annotations/instances_val2014.json").write_text(json.dumps(outlines))
    for k in range(4):
        (tmp_path / f"val2014/{k:012}.jpg").write_bytes(test_coco.picture(k))
    return tmp_path


def opened(path, filtered, n=2):
    return protocols.open_protocol("coco30k", n=n, path=str(path), filtered=filtered)


def levels(protocol):
    return [int(x[0, 0, 0]) for x in protocol.reference(8)]


def test_people_are_left_out_by_words_and_by_outlines(layout):
    assert levels(opened(layout, None)) == [0, 1, 2, 3]
    words = opened(layout, "people-words", 3)
    assert levels(words) == [1, 2, 3]
    assert set(words.prompts) == {"a cat", "two dogs", "a humane bus"}
    both = opened(layout, "people")
    assert levels(both) == [2, 3]
    assert set(both.prompts) == {"two dogs", "a humane bus"}


def test_a_list_leaves_pictures_out_of_the_reference_only(layout):
    (layout / "known.txt").write_text("000000000002.jpg\n")
    found = opened(layout, str(layout / "known.txt"), 4)
    assert levels(found) == [0, 1, 3]
    assert found.prompts == opened(layout, None, 4).prompts


def test_the_protocols_name_and_the_result_say_what_was_left_out(layout, tmp_path):
    found = opened(layout, "people")
    about = found.filtered
    assert (about["pictures"], about["of"]) == (2, 4)
    assert {len(about[f"{part}_sha256"]) for part in ("pictures", "words", "instances")} == {64}
    name = f"coco30k/1 filtered people/1 {about['pictures_sha256'][:16]} (the first 2)"
    assert found.name == name
    prompts = ("a large red circle on a white background",) * 2
    drawn = dataclasses.replace(found, prompts=prompts)
    result = Evaluator(drawn).run(Oracle(), tmp_path / "run", {}, batch_size=2)
    assert result["filtered"] == about
    assert opened(layout, None).filtered == {}


def test_a_filter_that_cannot_be_used_is_one_sentence(layout):
    (layout / "none.txt").write_text("")
    for filtered, message in (
        (str(layout / "none.txt"), "keeps 4 of 4"),
        ("nowhere", "people, people-words, or a file"),
    ):
        with pytest.raises(InputError, match=message):
            opened(layout, filtered)
    (layout / "annotations/instances_val2014.json").write_text("{}")
    with pytest.raises(InputError, match="not a COCO instances file"):
        opened(layout, "people")
    (layout / "annotations/instances_val2014.json").unlink()
    with pytest.raises(InputError, match="'people-words' does without it"):
        opened(layout, "people")
    with pytest.raises(InputError, match="of protocol 'coco30k'"):
        protocols.open_protocol("shapes", filtered="people")
