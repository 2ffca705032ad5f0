"""Cases whose answer is known, and whether it is told from others."""

import numpy as np
import pytest

from glide_jax.data.readers import shapes
from launch.studies import inpainting, seams


@pytest.fixture(scope="module")
def cases():
    return list(inpainting.cases(40))


def test_cases_are_frozen_unseen_and_leave_other_objects_alone(cases):
    for case, again in zip(cases[:5], inpainting.cases(5), strict=True):
        np.testing.assert_array_equal(case.image, again.image)
    for case in cases:
        spec = shapes.parse(case.caption)
        assert spec is not None
        assert shapes.held_out(spec)
        assert case.asked in spec.objects
        # The largest radius is 0.34: a box of 2 (1.15 x 0.34 + 0.05) a side, and whole pixels.
        assert 0 < case.painted.mean() < 0.85
        outside = np.where(case.painted[..., None], case.image[0, 0], case.image)
        left = inpainting.shapes_judge.judge(outside).objects
        assert len(left) == len(spec.objects) - 1


def test_the_true_picture_is_right_in_everything(cases):
    found = [inpainting.outcome(case, case.image) for case in cases]
    assert all(o.object and o.colour and o.shape and o.whole for o in found)
    assert max(seams.seam(case.image, case.painted) for case in cases) <= 1.1


def test_nothing_another_colour_and_a_touched_pixel_are_seen(cases):
    for case in cases:
        empty = np.where(case.painted[..., None], case.image[0, 0], case.image)
        found = inpainting.outcome(case, empty)
        assert not any((found.object, found.colour, found.shape, found.whole))
        assert inpainting.kept(case, empty)
        swapped = np.where(case.painted[..., None], case.image[..., ::-1], case.image)
        if case.asked[0] in ("red", "blue", "orange"):
            assert not inpainting.outcome(case, swapped).colour
        touched = case.image.copy()
        row, column = np.argwhere(~case.painted)[3]
        touched[row, column] ^= 1
        assert not inpainting.kept(case, touched)


def test_a_pasted_rectangle_shows_a_seam(cases):
    case = cases[0]
    rectangle = np.where(case.painted[..., None], 255 - case.image[0, 0], case.image)
    assert seams.seam(rectangle, case.painted) > 1.1


def test_boxes_of_any_pictures_are_the_same_every_time_and_measured_inside():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (32, 32, 3), np.uint8) for _ in range(20)]
    cases = list(inpainting.boxes(pictures, [f"number {i}" for i in range(20)]))
    again = list(inpainting.boxes(pictures[:3], ["number 0", "number 1", "number 2"]))
    assert [c.painted.tolist() for c in cases[:3]] == [c.painted.tolist() for c in again]
    assert {case.painted.sum() for case in cases} == {16 * 16}
    corners = {tuple(np.argwhere(case.painted)[0]) for case in cases}
    assert len(corners) > 10
    case = cases[0]
    result = np.where(case.painted[..., None], case.image ^ 1, case.image)
    assert inpainting.error(case, result) == 1.0
    assert inpainting.kept(case, result)
    outside = np.where(case.painted[..., None], case.image, case.image ^ 1)
    assert inpainting.error(case, outside) == 0.0
    assert not inpainting.kept(case, outside)
