"""The regression from pooled text to small pictures, on numbers that are known."""

import numpy as np
import pytest

from glide_jax.model_dir import reading
from launch.studies import measure_sketches
from tests import tiny


def test_what_text_decides_is_explained_and_noise_is_not():
    rng = np.random.default_rng(0)
    seen = np.concatenate([rng.normal(size=(400, 5)), np.ones((400, 1))], axis=1)
    drawn = (seen @ rng.normal(size=(6, 768))).astype(np.float32)
    mean = drawn.mean(axis=0)
    weights = measure_sketches.fitted(seen, drawn)
    assert measure_sketches.explained(seen @ weights, drawn, mean) > 0.99
    noise = rng.normal(size=drawn.shape).astype(np.float32)
    of_noise = measure_sketches.fitted(seen[:200], noise[:200])
    mean = noise[:200].mean(axis=0)
    assert measure_sketches.explained(seen[200:] @ of_noise, noise[200:], mean) < 0.0
    plain = np.zeros_like(weights)
    plain[-1] = mean
    assert measure_sketches.explained(seen @ plain, noise, mean) == pytest.approx(0.0, abs=1e-6)


def test_captions_are_read_alike_in_parts_and_alone(tmp_path):
    model = reading.read_model(tiny.save(tmp_path / "m", "plain"))
    captions = [f"{n} red circles" for n in range(260)]
    read = measure_sketches.reader(model)
    seen = read(captions)
    width = model.stages["base"][1]["text"]["pool"]["kernel"].shape[-1]
    assert seen.shape == (260, width + 1)
    assert (seen[:, -1] == 1).all()
    np.testing.assert_allclose(read(captions[258:]), seen[258:], atol=1e-6)


def test_the_first_guess_is_the_same_in_any_company_and_hangs_on_the_seed(tmp_path):
    model = reading.read_model(tiny.save(tmp_path / "m", "plain"))
    guesser = measure_sketches.guesser(model)
    guess = guesser(["a red circle", "a red circle", "two stars"])
    assert guess.shape == (3, 768)
    assert np.isfinite(guess).all()
    again = guesser(["a red circle"])
    np.testing.assert_allclose(again[0], guess[0], atol=1e-5)
    assert not np.array_equal(guess[0], measure_sketches.guesser(model, seed=1)(["x"])[0])
