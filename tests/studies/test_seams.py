"""The seam metric on pictures whose seams are known."""

import numpy as np
import pytest

from launch.studies import seams

MASK = np.zeros((20, 20), bool)
MASK[5:15, 5:15] = True


def test_a_flat_picture_and_a_slope_show_no_seam():
    assert seams.seam(np.full((20, 20, 3), 7), MASK) == 1.0
    slope = np.broadcast_to(np.arange(20)[None, :, None] * 9, (20, 20, 3))
    # Pairs along the slope's own direction are as many at the border as inside.
    assert seams.seam(slope, MASK) == pytest.approx(1.0, abs=0.01)


def test_noise_shows_no_seam_and_a_step_does():
    noise = np.random.default_rng(0).normal(128, 10, (200, 200, 3))
    mask = np.zeros((200, 200), bool)
    mask[50:150, 50:150] = True
    assert seams.seam(noise, mask) == pytest.approx(1.0, abs=0.05)
    assert seams.seam(noise + 40 * mask[..., None], mask) > 2.5
