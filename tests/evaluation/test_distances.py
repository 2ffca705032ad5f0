"""Sets of pictures next to each other."""

import numpy as np
import pytest

from glide_jax.evaluation import distances
from glide_jax.evaluation.features.extractor import Features, Outputs

FEATURES = Features("stand-in", "none", 8, {}, lambda params, images: images)


def outputs(groups: int, each: int, shuffled: bool) -> Outputs:
    """Pictures of as many classes as groups, group by group: an extractor is sure of each."""
    rng = np.random.default_rng(3)
    label = np.repeat(np.arange(groups), each)
    if shuffled:
        label = np.random.default_rng(4).permutation(label)
    return Outputs(rng.standard_normal((len(label), 3)), None, 20.0 * np.eye(groups)[label])


@pytest.mark.parametrize(
    ("groups", "each"), [(8, 100), (5, 200), pytest.param(3, 1000, marks=pytest.mark.slow)]
)
def test_the_class_score_does_not_depend_on_pictures_coming_group_by_group(groups, each):
    # Every picture is of a sure class and classes are as many: the score is their number, less a
    # little since a split of a hundred does not hold exactly as many of each.
    score = lambda shuffled: distances.compare_sets(
        FEATURES, outputs(groups, each, shuffled), outputs(groups, each, shuffled)
    )["class_score"]
    assert groups * 0.93 < score(False) <= groups
    assert score(False) == pytest.approx(score(True), rel=0.02)
    assert score(False) == score(False)  # its order is frozen


def test_one_split_is_the_score_of_all():
    found = distances.compare_sets(FEATURES, outputs(3, 40, False), outputs(3, 40, False))
    assert found["class_score_splits"] == 1
    assert found["class_score"] == pytest.approx(3.0, rel=1e-6)
