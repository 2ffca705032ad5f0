"""Masks for inpainting: every kind erases what its name says, alike at both sizes."""

import numpy as np
import pytest

from glide_jax.data import masks
from glide_jax.errors import InputError


def many(kinds, count=200, size=64, **options):
    return [
        masks.draw(np.random.default_rng(seed), size, kinds, **options) for seed in range(count)
    ]


def test_a_mask_is_ones_and_zeros_of_one_channel():
    for size in (64, 256, 16, 50):
        mask = masks.draw(np.random.default_rng(0), size, ("box",))
        assert mask.shape == (size, size, 1)
        assert mask.dtype == np.float32
        assert set(np.unique(mask)) == {0.0, 1.0}


@pytest.mark.parametrize("kind", masks.KINDS)
def test_every_kind_erases_something_and_is_new_each_time(kind):
    drawn = many((kind,))
    assert all((mask == 0).any() for mask in drawn)
    distinct = len({mask.tobytes() for mask in drawn})
    if kind == "everything":
        assert not any(mask.any() for mask in drawn)
    else:
        assert distinct > 100
        known = np.mean([mask.mean() for mask in drawn])
        assert 0.15 < known < 0.95
        assert np.mean([mask.any() for mask in drawn]) > 0.95


def test_a_box_is_a_box_and_a_border_is_around_one():
    for mask in many(("box",), 50):
        erased = mask[..., 0] == 0
        assert (erased == np.outer(erased.any(1), erased.any(0))).all()
    for mask in many(("border",), 50):
        known = mask[..., 0] == 1
        assert (known == np.outer(known.any(1), known.any(0))).all()


def test_a_half_is_mostly_a_side_of_the_picture():
    straight = 0
    for mask in many(("half",), 200):
        straight += (mask == mask[:1]).all() or (mask == mask[:, :1]).all()
    assert 0.6 < straight / 200 < 0.95


def test_every_place_is_erased_sometimes_and_known_sometimes():
    mean = np.mean(many(tuple(masks.KINDS), 400), 0)
    assert mean.min() > 0.05
    assert mean.max() < 0.95


def test_a_seed_erases_alike_at_the_sizes_of_both_stages():
    for kind in masks.KINDS:
        small, large = many((kind,), 5), many((kind,), 5, size=256)
        for low, high in zip(small, large, strict=True):
            np.testing.assert_array_equal(high, low.repeat(4, 0).repeat(4, 1))


def test_kinds_are_mixed_by_their_weights():
    kinds = ("half", "everything")
    empty = np.mean([not mask.any() for mask in many(kinds, 600)])
    weight = masks.KINDS["everything"].weight
    assert empty == pytest.approx(weight / (weight + 2), abs=0.06)


def test_a_part_of_masks_knows_nothing():
    empty = np.mean([not mask.any() for mask in many(("box",), 600, whole_fraction=0.25)])
    assert empty == pytest.approx(0.25, abs=0.05)
    assert all(mask.any() for mask in many(("box",), 50, whole_fraction=0.0))


def test_unknown_kinds_are_named():
    assert masks.check_kinds("masks", ["box", "blob"]) == ("box", "blob")
    with pytest.raises(InputError, match="masks is 'circle'; it must be one of box, boxes"):
        masks.check_kinds("masks", ("box", "circle"))
