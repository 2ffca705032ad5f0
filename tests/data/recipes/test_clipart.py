import numpy as np
import pytest

from glide_jax.data.example import Rejected
from glide_jax.data.recipes import clipart

RIGHTS = '<license rdf:resource="http://web.resource.org/cc/PublicDomain"/>'


def drawing(title="", author="", keywords=(), rights=RIGHTS, colour="red", at=0):
    words = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="d" xmlns:rdf="r" width="210mm" '
        f'height="297mm"><metadata><dc:title>{title}</dc:title><dc:title>{author}</dc:title>'
        f"{words}{rights}</metadata>"
        f'<rect x="{at}" y="40" width="90" height="45" fill="{colour}"/></svg>'
    )


def read(tmp_path, name, **about):
    path = tmp_path / "a.svg"
    path.write_text(drawing(**about))
    return clipart.read_drawing(path, name)


def test_clip_art_is_told_by_its_file_name_without_author_and_number(tmp_path):
    found = read(tmp_path, "food/green_pear_benji_pa_02.svg", author="Benji Park",
                 keywords=["food", "hash(0x8a0)", "theme", "fruit", "Benji Park"])  # fmt: skip
    assert found.captions == ("green pear", "clip art of green pear", "green pear, food, fruit")


def test_a_title_is_told_where_it_says_more_of_the_same_thing(tmp_path):
    told = read(tmp_path, "people/runner_01.svg", title="Tired Runner (B and W)").captions
    assert told[-1] == "tired runner"
    assert (
        read(tmp_path, "people/runner_01.svg", title="Various cliparts").captions[-1]
        == "clip art of runner"
    )


def test_names_in_another_language_give_way_to_keywords(tmp_path):
    found = read(tmp_path, "animals/cigno_architetto_f_01.svg",
                 author="Architetto Francesco Rollandin", keywords=["bird"])  # fmt: skip
    assert found.label == "bird"


def test_flags_say_that_they_are_flags(tmp_path):
    assert read(tmp_path, "signs_and_symbols/flags/asia/nepal.svg").label == "flag of nepal"


def test_what_is_not_in_the_public_domain_or_a_mere_series_is_left_out(tmp_path):
    assert read(tmp_path, "food/pear.svg", rights="") is None
    assert read(tmp_path, "food/pear.svg", rights=RIGHTS.replace("PublicDomain", "GPL")) is None
    assert read(tmp_path, "shapes/stars/star_1.svg") is None


def test_a_small_drawing_on_a_page_is_cut_out_and_fills_the_picture(tmp_path):
    (tmp_path / "a.svg").write_text(drawing(at=300))
    item = clipart.Drawing(tmp_path / "a.svg", "a", "box", ("box",))
    image = clipart.draw(item).image
    ys, xs = np.nonzero(np.ptp(image, axis=2) > 128)
    assert abs(xs.min() - 8) <= 1
    assert abs(xs.max() - 247) <= 1
    assert abs(ys.min() - 68) <= 1
    assert abs(ys.max() - 187) <= 1


@pytest.mark.parametrize(
    ("svg", "reason"),
    [
        (drawing(colour="#777"), "no colour"),
        (drawing(colour="none"), "blank"),
        (drawing(colour="white"), "blank"),
        ("<svg", "not drawable"),
    ],
)
def test_drawings_that_show_nothing_of_use_are_rejected(tmp_path, svg, reason):
    (tmp_path / "a.svg").write_text(svg)
    item = clipart.Drawing(tmp_path / "a.svg", "a", "box", ("box",))
    with pytest.raises(Rejected, match=reason):
        clipart.draw(item)


def test_labels_of_clip_art_are_in_one_split_only(tmp_path):
    root = tmp_path / "packages" / clipart.DRAWINGS.slug / "usr/share/openclipart/svg"
    words = [f"thing{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
    for folder in ("food", "plants"):
        (root / folder).mkdir(parents=True)
        for word in words:
            (root / folder / f"{word}_01.svg").write_text(drawing())
    splits = clipart.splits(tmp_path)
    held_out, train = ({d.label for d in s.items} for s in splits.values())
    assert held_out
    assert not held_out & train
    assert held_out | train == set(words)
