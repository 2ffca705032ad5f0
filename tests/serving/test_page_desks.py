"""The memory that visitors of the page take."""

import numpy as np
import pytest
from PIL import Image

from glide_jax import images, provenance
from glide_jax.sampling.picture import Picture
from glide_jax.serving import page_desks
from glide_jax.serving.jobs import Preview
from glide_jax.serving.page_desks import Desks
from glide_jax.serving.page_masks import Easel

PARAMETERS = {"prompt": "<b>a star</b>", "seed": 7, "index": 0, "edit": None}


def picture(side=8):
    image = Image.new("RGB", (side, side), "red")
    return Picture(image, image, PARAMETERS)


def test_a_strip_has_a_limit_and_its_files_go_with_it():
    desks = Desks()
    desk = desks.of("a", "draw")
    desks.stage(desk, picture())
    first = desk.shown.file
    assert images.read_parameters(first) == PARAMETERS
    for _ in range(page_desks.MOST_STAGED):
        desks.stage(desk, picture())
    assert len(desk.staged) == page_desks.MOST_STAGED
    assert not first.exists()
    last = desk.shown.file
    desks.leave("a")
    assert desk.stopped
    assert not last.exists()


def test_the_oldest_desks_go_where_pictures_take_too_much(monkeypatch):
    monkeypatch.setattr(page_desks, "_MOST_PIXELS", 1000)
    desks = Desks()
    old = desks.of("a", "repaint")
    old.easel = Easel(Image.new("RGB", (16, 16)))
    desks.of("b", "repaint").easel = Easel(Image.new("RGB", (16, 16)))
    desks.of("b", "draw")
    assert old.stopped
    assert desks.of("b", "repaint").easel is not None
    assert desks.of("a", "repaint").easel is None


def test_a_prompt_is_text_on_the_page():
    desks = Desks()
    desk = desks.of("a", "draw")
    desks.stage(desk, picture())
    shown = page_desks.shown_html(desk, True)
    assert "<b>a star" not in shown
    assert "&lt;b&gt;a star" in shown
    assert "seed <b>7</b>" in shown


def test_a_fault_is_no_sentence():
    with pytest.raises(KeyError):
        page_desks.sentence(KeyError("x"))


def test_a_picture_of_a_high_score_is_blurred_until_a_person_asks():
    desks = Desks(scorer=lambda image: 0.75)
    desk = desks.of("ann", "draw")
    desks.stage(desk, picture())
    shown = page_desks.shown_html(desk, True)
    assert '<div class="unfit">' in shown
    assert "score 0.75 of 1, by OpenNSFW" in shown
    assert 'type="checkbox"' in shown
    staged = desk.shown
    assert staged.look != staged.file  # the strip shows the former
    assert images.read_parameters(staged.file) == picture().parameters
    assert provenance.claims(images.read(staged.look).info["xmp"]).source == provenance.TRAINED


def test_a_picture_of_a_low_score_is_shown():
    for scorer in (None, lambda image: 0.25):
        desks = Desks(scorer)
        desk = desks.of("ann", "draw")
        desks.stage(desk, picture())
        assert "unfit" not in page_desks.shown_html(desk, True)
        assert desk.shown.look == desk.shown.file


def test_what_is_on_its_way_is_blurred_where_a_filter_has_not_seen_it():
    board = Image.fromarray(np.indices((16, 16)).sum(0).astype(np.uint8) % 2 * 255).convert("RGB")
    for blurs in (False, True):
        tile = page_desks.Tile(provenance.TRAINED, blurs=blurs)
        tile.take(Preview(board, 1))
        assert (np.ptp(np.asarray(tile.image)[6:10, 6:10]) < 64) == blurs
