import numpy as np
import pytest

from glide_jax.data.example import Rejected
from glide_jax.data.recipes import emoji
from tests.data import icons


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    icons.write(folder)
    return folder


@pytest.fixture(scope="module")
def splits(data_dir):
    return emoji.splits(data_dir)


def every(splits):
    return {icon.name: icon for source in splits.values() for icon in source.items}


def concept(label="bell", tags=("alarm", "sound", "church", "ring"), group="objects"):
    return emoji.Concept(label, tuple(tags), group)


def test_icons_are_labelled_by_code_or_name_and_the_rest_is_left_out(splits):
    found = every(splits)
    assert {name.split("/")[1] for name in found} == {"red-apple", "bell", "grinning-face"}
    assert len(found) == 6 * 3 + 2  # six styles of SVG, and the two pictures of the 3d one
    assert 'fill="rgb(200,0,0)"' in found["noto/red-apple"].art  # not the withdrawn pink one


def test_people_and_smileys_can_be_left_out(data_dir, splits):
    without = every(emoji.splits(data_dir, people=False))
    assert set(every(splits)) - set(without) == {n for n in every(splits) if "grinning" in n}


def test_every_picture_is_256_pixels_on_white_and_says_its_label_and_style(splits):
    for source in splits.values():
        for k, icon in enumerate(source.items):
            if icon.name == "3d/grinning-face":
                continue
            example = source[k]
            assert example.image.shape == (256, 256, 3)
            np.testing.assert_array_equal(example.image[0], 255)
            assert example.captions[0] == icon.concept.label
            assert f"{icon.style} emoji of {icon.concept.label}" in example.captions[1]
            assert example.name == icon.name


def test_an_oblong_icon_is_centred_and_not_stretched(splits):
    source = next(s for s in splits.values() if any(i.name == "noto/bell" for i in s.items))
    k = next(k for k, i in enumerate(source.items) if i.name == "noto/bell")
    ys, xs = np.nonzero(np.ptp(source[k].image, axis=2))
    # 10 of 40 units are 64 pixels; the frame fills the width, and half of the height.
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (25, 89, 64 + 25, 64 + 89)


def test_a_transparent_picture_is_rejected_as_blank(splits):
    source = next(s for s in splits.values() if any(i.name == "3d/grinning-face" for i in s.items))
    k = next(k for k, i in enumerate(source.items) if i.name == "3d/grinning-face")
    with pytest.raises(Rejected, match=r"blank \(3d/grinning-face\)"):
        source[k]


def test_captions_are_the_label_its_style_and_some_tags():
    label, style, two, rest = emoji.captions(concept(), "emojione")
    assert (label, style) == ("bell", "an emojione emoji of bell")
    assert sorted(", ".join([two, rest]).split(", ")) == [
        "alarm", "bell", "bell", "church", "ring", "sound"
    ]  # fmt: skip
    assert emoji.captions(concept(tags=()), "flat") == ("bell", "a flat emoji of bell")


def test_captions_are_the_same_each_time_and_differ_between_styles():
    told = {style.word: emoji.captions(concept(), style.word)[2] for style in emoji.STYLES}
    assert told == {s.word: emoji.captions(concept(), s.word)[2] for s in emoji.STYLES}
    assert len(set(told.values())) > 1


def test_labels_are_plain_words(data_dir):
    concepts = emoji.read_concepts(data_dir / "packages" / emoji.LABELS.slug)
    assert concepts["flag-france"].label == "flag of France"
    assert concepts["1f550"].label == "one o'clock"
    assert concepts["redapple"] is concepts["1f34e"]
    assert concepts["red-apple"].tags == ("fruit", "ripe")  # what the label says is no tag
    assert "light-skin-tone" not in concepts
    assert concepts["1f600-1f3ff"] is None


def test_the_same_parts_are_held_out_on_every_machine():
    one = lambda k: emoji.Icon("noto", concept(f"thing {k}"), "")
    split = [emoji.split_of(one(k)) for k in range(4000)]
    assert split[:200].count("train") == 192
    assert 0.01 < split.count("held_out_concepts") / 4000 < 0.03
    assert 0.02 < split.count("held_out_pairs") / 4000 < 0.04
    assert emoji.fraction("red apple") == 0.31662921980558917


def test_a_held_out_concept_is_held_out_in_every_style():
    for k in range(300):
        splits = {
            emoji.split_of(emoji.Icon(s.word, concept(f"thing {k}"), "")) for s in emoji.STYLES
        }
        assert splits == {"held_out_concepts"} or "held_out_concepts" not in splits


def test_the_attribution_names_every_set_with_its_licence():
    text = emoji.attribution()
    for style in emoji.STYLES:
        assert f"{style.title} by {style.author}, {style.licence}" in text
    assert "CC-BY-SA" not in text


def test_every_package_is_pinned():
    for package in (emoji.LABELS, *(style.package for style in emoji.STYLES)):
        assert len(package.sha256) == 64
        assert package.version[0].isdigit()
