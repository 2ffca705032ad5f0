"""Spread within captions, on pictures whose spread is known."""

import numpy as np
import pytest

from glide_jax.data.readers import shapes
from glide_jax.evaluation import diversity, evaluate, protocols
from tests.evaluation.oracle import Oracle

CAPTIONS = (
    "a small blue circle on a white background",
    "two green squares on a gray background",
    "a red circle and a blue square on a white background",
)


def scene(caption: str, seed: int) -> np.ndarray:
    spec = shapes.parse(caption)
    assert spec is not None
    return shapes.render(shapes.scene_of(spec, np.random.default_rng(seed)))


def measured(seeds) -> dict:
    pairs = [(scene(caption, seed), caption) for caption in CAPTIONS for seed in seeds]
    pictures, captions = zip(*pairs, strict=True)
    return diversity.measure_spread(pictures, captions)


def test_scenes_are_drawn_of_a_caption():
    for caption in CAPTIONS:
        spec = shapes.parse(caption)
        assert spec is not None
        assert shapes.caption(shapes.scene_of(spec, np.random.default_rng(0))) == caption


def test_true_scenes_are_as_varied_as_true_scenes_and_one_picture_is_not_at_all():
    found = measured(range(30))
    assert found["captions"] == len(CAPTIONS)
    for spread in found["spread"].values():
        assert spread["ratio"] == pytest.approx(1.0, abs=0.2)
        assert spread["low"] <= spread["ratio"] <= spread["high"]
    same = measured([7] * 5)["spread"]
    assert all(spread["ratio"] == pytest.approx(0.0, abs=1e-9) for spread in same.values())


def test_half_the_spread_is_half():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(50, 2, 6))
    np.testing.assert_allclose(diversity.variances(wide / 2), diversity.variances(wide) / 4)


def test_wrong_pictures_are_no_diversity():
    caption, other = CAPTIONS[0], "a small red circle on a white background"
    right = [scene(caption, 1), scene(caption, 1)]
    found = diversity.measure_spread([*right, scene(other, 2)], [caption] * 3)
    assert found["pictures"] == 2
    assert found["spread"]["position"]["ratio"] == 0.0
    assert (
        diversity.measure_spread([scene(other, k) for k in (1, 2)], [caption] * 2)["spread"] == {}
    )


def test_a_run_of_repeats_says_its_diversity(tmp_path):
    protocol = protocols.open_protocol("shapes_repeats", n=1)
    assert len(protocol.prompts) == protocols.REPEATS * len(set(protocol.prompts)) == 32
    result = evaluate.Evaluator(protocol).run(Oracle(), tmp_path, {}, batch_size=8)
    assert result["diversity"]["captions"] == 8
    assert evaluate.scalars_of(result)["position_spread"] > 0.5
    shown = [shapes.parse(prompt) for prompt in protocol.prompts]
    assert all(shown)
    pictures = list(protocol.reference(64))
    assert len(pictures) == 32
    assert diversity.measure_spread(pictures, protocol.prompts)["captions"] == 8
