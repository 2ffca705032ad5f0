"""The grain of guesses, on pictures whose paper is known."""

import numpy as np
import pytest

from glide_jax.model_dir import reading
from launch.studies import measure_grain
from launch.studies.measure_errors import Pictures
from tests import tiny


def white_with_a_dot(size: int) -> np.ndarray:
    image = np.ones((1, size, size, 3), np.float32)
    image[0, 2, 2] = -1.0
    return image


def test_paper_is_white_as_far_as_three_pixels_around():
    found = measure_grain.paper(white_with_a_dot(16))
    assert not found[0, :6, :6].any()
    assert found[0, 6:, :].all()
    assert found[0, :, 6:].all()


def test_grain_grows_with_noise_and_needs_paper(tmp_path):
    model = reading.read_model(tiny.save(tmp_path / "m", "plain"))
    size = model.stages["base"][0].model.image_size
    given = Pictures(white_with_a_dot(size), ["a red circle"])
    grain = measure_grain.grainer(model, given)
    clean, noisy = grain(0), grain(500)
    assert clean.noise < 5 < noisy.noise
    assert clean.paper < noisy.paper
    assert clean.whole < noisy.whole
    assert measure_grain.grainer(model, given)(500) == noisy
    assert measure_grain.grainer(model, given, seed=1)(500).paper != pytest.approx(noisy.paper)
    dark = measure_grain.grainer(model, given._replace(image=-given.image))(500)
    assert np.isnan(dark.paper)
    assert np.isfinite(dark.whole)
