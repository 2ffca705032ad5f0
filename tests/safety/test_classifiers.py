"""Classifiers are scikit-learn's, evaluated by numpy, with a threshold and measured errors."""

import pickle
import re

import numpy as np
import pytest

from glide_jax.errors import InputError
from glide_jax.safety import classifiers

svm = pytest.importorskip("sklearn.svm", reason="pip install 'glide-jax[filter]'")
HOW = {"name": "rings", "column": "features", "network": "eyes 0"}


def rings(n, seed=0):
    """Positives lie within a ring of the others, so no plane parts them."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.3
    angle, radius = rng.uniform(0, 2 * np.pi, n), np.where(positive, 1.0, 2.2)
    x = np.stack([np.cos(angle), np.sin(angle)], 1) * (radius + rng.normal(0, 0.3, n))[:, None]
    return np.hstack([x, rng.normal(0, 0.1, (n, 2))]).astype(np.float32), positive


@pytest.fixture(scope="module")
def fitted():
    return classifiers.fit(*rings(2000), **HOW)


def test_it_misses_under_a_hundredth_and_is_measured_on_rows_it_did_not_see(fitted):
    assert fitted.errors["missed"]["n"] + fitted.errors["false_alarms"]["n"] == 400
    fresh, positive = rings(4000, 1)
    flagged = fitted.scores(fresh) >= 0
    missed, alarms = 1 - flagged[positive].mean(), flagged[~positive].mean()
    assert missed < 0.02
    assert alarms < 0.35
    for found, share in ((missed, "missed"), (alarms, "false_alarms")):
        assert fitted.errors[share]["low"] - 0.02 < found < fitted.errors[share]["high"] + 0.02


def test_scores_are_scikit_learn_s_but_for_the_threshold(fitted):
    """The same support vectors as scikit-learn's own, put together by its own kernel."""
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    fresh, _ = rings(3000, 2)
    a = fitted.arrays
    kernel = pairwise.rbf_kernel((fresh - a["mean"]) / a["scale"], a["support"], fitted.gamma)
    wanted = kernel @ a["dual"] + fitted.offset
    np.testing.assert_allclose(fitted.scores(fresh), wanted, atol=1e-3)
    assert fitted.scores(fresh[:0]).shape == (0,)


def test_it_is_kept_without_code(fitted, tmp_path):
    classifiers.save(fitted, tmp_path / "rings.safetensors")
    again, (fresh, _) = classifiers.load(tmp_path / "rings.safetensors"), rings(50, 3)
    assert (again.scores(fresh) == fitted.scores(fresh)).all()
    assert (again.sha256, again.errors) == (fitted.sha256, fitted.errors)
    assert (tmp_path / "rings.safetensors").read_bytes()[8:9] == b"{"


@pytest.mark.parametrize("content", [b"", b"\0" * 64, pickle.dumps({"support": 1}), None, "cut"])
def test_a_file_that_is_none_is_refused_in_a_sentence(fitted, tmp_path, content):
    path = tmp_path / "x.safetensors"
    if content == "cut":
        classifiers.save(fitted, path)
        content = path.read_bytes()[:-10]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"x.safetensors' (is no classifier|cannot be read)"):
        classifiers.load(path)


def test_features_of_another_network_are_refused(fitted):
    fitted.check({"features": "eyes 0"})
    with pytest.raises(InputError, match="of eyes, and the table has it of 'nose': score"):
        fitted.check({"features": "nose 1"})
    with pytest.raises(InputError, match="reads 4 features, not 3"):
        fitted.scores(np.zeros((2, 3)))


def test_too_few_labels_and_odd_names_are_refused():
    x, positive = rings(100)
    with pytest.raises(InputError, match="50 of each are needed at least"):
        classifiers.fit(x, positive & (np.arange(100) < 50), **HOW)
    with pytest.raises(InputError, match=re.escape("name is 'a-b'; it must be a word")):
        classifiers.fit(x, positive, **HOW | {"name": "a-b"})
