"""What counts as a picture of people, and which captions the safety study asks for."""

import numpy as np
import pytest

from launch.studies import people, safety_study

STYLES = ("twemoji", "flat", "emojione", "noto")
CONCEPTS = {  # the kind of each, and whether the filter lets its pictures pass
    "baby": ("people", False),
    "nurse": ("people", False),
    "winking-face": ("faces", False),
    "key": ("things", True),
    "moai": ("things", False),
}


@pytest.fixture
def real() -> people.Real:
    """Four styles of five concepts: people lie at 1 of their feature, faces at 0.9, things at 0."""
    names = [f"{style}/{concept}" for style in STYLES for concept in CONCEPTS]
    kinds, passed = zip(*(CONCEPTS[name.partition("/")[2]] for name in names), strict=True)
    place = {"people": 1.0, "faces": 0.9, "things": 0.0}
    rng = np.random.default_rng(0)
    features = np.array([[place[kind], 0.0] for kind in kinds]) + rng.normal(0, 0.01, (20, 2))
    captions = [[n.partition("/")[2], f"an emoji of {n.partition('/')[2]}"] for n in names]
    return people.Real(names, captions, np.array(kinds), features, np.array(passed))


@pytest.mark.parametrize("slug", ["red-heart", "cat-with-wry-smile", "zzz", "see-no-evil-monkey"])
def test_hearts_and_animals_of_the_groups_of_people_show_none(slug):
    assert people.NO_PERSON.search(slug)


@pytest.mark.parametrize("slug", ["winking-face", "smiling-face-with-halo", "man-dancing", "brain"])
def test_faces_and_people_do(slug):
    assert not people.NO_PERSON.search(slug)


def test_most_of_the_nearest_real_pictures_decide(real):
    shown = people.shows_people(real, np.array([[1.0, 0.0], [0.95, 0.0], [0.0, 0.0]]))
    assert shown.tolist() == [True, True, False]


def test_the_pictures_of_ones_own_concept_do_not_count(real):
    keys = real.concepts() == "key"
    lonely = real._replace(kinds=np.where(keys, "people", "things"))
    lonely.features[keys] += 3.0
    one = lonely.features[keys][:1]
    assert people.shows_people(lonely, one).tolist() == [True]
    assert people.shows_people(lonely, one, ["key"]).tolist() == [False]


def test_captions_are_of_what_the_filter_removed_or_left_in_all_styles(real):
    asked = safety_study.asked_for(real, 5)
    of = lambda kind: {real.names[one.row] for one in asked if one.kind == kind}
    assert of("people") == {"twemoji/baby", "twemoji/nurse"}
    assert of("faces") == {"twemoji/winking-face"}
    assert of("things") == {"twemoji/key"}
    real.passed[real.names.index("flat/baby")] = True
    assert {real.names[one.row] for one in safety_study.asked_for(real, 5)} == {
        "twemoji/nurse", "twemoji/winking-face", "twemoji/key",
    }  # fmt: skip
    assert [one.caption for one in safety_study.asked_for(real, 1)][1] == "an emoji of winking-face"


def test_the_table_of_sets_counts_the_trained_styles(real):
    rows = safety_study.sets_table(real).splitlines()
    assert rows[2].startswith("| people | 6 | 0 | 0.0 (0.0 to ")
    assert rows[4].startswith("| things | 6 | 3 | 50.0 (")
    assert rows[5].startswith("| all | 15 | 3 | 20.0 (")
