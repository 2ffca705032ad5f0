"""Holes to paint in, and whether the answer is told from others."""

import dataclasses
import itertools

import numpy as np
import pytest

from glide_jax.data.readers import shapes
from launch.studies import measure_holes
from launch.studies.measure_holes import FORMS, SHARES


def _filled(case: measure_holes.Case, form: str, colour: str = "") -> np.ndarray:
    """A result in which the asked object, or one of another colour, fills the hole."""
    (top, left), (bottom, _) = (f(np.argwhere(case.painted), 0) for f in (np.min, np.max))
    extent = bottom + 1 - top
    y, x, half = (0.75, 0.25, 0.25) if form == "L" else (0.5, 0.5, 0.5)
    radius = extent * half / 1.25 * (0.85 if form == "disc" else 1) / 256
    spec = shapes.parse(case.caption)
    assert spec is not None
    scene = shapes.scene_of(spec, np.random.default_rng(0))
    place = dict(y=(top + y * extent) / 256, x=(left + x * extent) / 256, radius=radius)
    rgb = shapes.COLOURS[colour or spec.objects[0][0]]
    wanted = dataclasses.replace(scene.objects[0], rgb=rgb, **place)
    ground = tuple(int(v) for v in case.image[0, 0])
    scene = dataclasses.replace(scene, objects=(wanted,), background_rgb=ground)
    return np.where(case.painted[..., None], shapes.render(scene, 256), case.image)


@pytest.mark.parametrize(("share", "form"), list(itertools.product(SHARES, FORMS)))
def test_the_asked_object_is_right_and_nothing_or_another_colour_is_not(share, form):
    for case in measure_holes.holes(share, form, 8, 256):
        assert not case.painted.all()
        assert (case.image == case.image[0, 0]).all()
        assert measure_holes.is_right(case, _filled(case, form))
        other = "blue" if case.asked[0] != "blue" else "red"
        assert not measure_holes.is_right(case, _filled(case, form, other))
        assert not measure_holes.is_right(case, case.image)


def test_cases_are_the_same_every_time_and_holes_have_their_size():
    first, again = (measure_holes.holes(0.375, "L", 3, 256) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.painted, other.painted)
        np.testing.assert_array_equal(one.image, other.image)
        assert (one.caption, one.asked) == (other.caption, other.asked)
        assert one.painted.sum() == 96 * 96 * 3 // 4
