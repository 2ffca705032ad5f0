"""Metrics against closed forms and against implementations that are written differently."""

import math

import numpy as np
import pytest
from scipy import linalg, stats

from glide_jax.errors import InputError
from glide_jax.evaluation.metrics import alignment, fidelity, frechet, intervals, manifold


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def gaussian(mean, covariance) -> frechet.Moments:
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    return frechet.Moments(mean, covariance)


def rotation(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def test_moments_are_those_of_numpy(rng):
    x = rng.standard_normal((57, 5)) * 3 + 1e4  # a large mean, which cancels in careless sums
    whole = frechet.moments_of(x)
    np.testing.assert_allclose(whole.mean, x.mean(0), rtol=1e-14)
    np.testing.assert_allclose(whole.covariance, np.cov(x, rowvar=False), rtol=1e-12)
    assert not frechet.moments_of(x[:1]).covariance.any()


@pytest.mark.parametrize("d", [1, 3, 64])
def test_the_frechet_distance_of_gaussians_is_the_closed_form(rng, d):
    a, b = rng.uniform(0.1, 9, (2, d))
    q, shift = rotation(rng, d), rng.standard_normal(d)
    found = frechet.frechet_distance(
        gaussian(shift, q * a @ q.T), gaussian(np.zeros(d), q * b @ q.T)
    )
    expected = shift @ shift + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_of_gaussians_that_do_not_commute_is_the_closed_form():
    a, b = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([[1.0, -0.9], [-0.9, 4.0]])
    # Of a 2 x 2 matrix, (Tr M^(1/2))^2 = Tr M + 2 (det M)^(1/2).
    root = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a @ b)))
    found = frechet.frechet_distance(gaussian([1, 2], a), gaussian([0, 0], b))
    assert found == pytest.approx(5 + np.trace(a + b) - 2 * root, rel=1e-12)


@pytest.mark.parametrize("n", [40, 500])
def test_the_frechet_distance_agrees_with_the_general_matrix_root(rng, n):
    x = rng.standard_normal((n, 48)) @ rng.standard_normal((48, 48))
    y = rng.standard_normal((n, 48)) @ rng.standard_normal((48, 48)) + 1
    c, e = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(c @ e + (1e-12 * np.eye(48) if n < 48 else 0))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c + e - 2 * np.real(root))
    found = frechet.frechet_distance(frechet.moments_of(x), frechet.moments_of(y))
    assert found == pytest.approx(expected, rel=1e-3)


def test_a_set_is_at_no_distance_from_itself_even_with_fewer_vectors_than_dimensions(rng):
    x = frechet.moments_of(rng.standard_normal((20, 100)))
    assert abs(frechet.frechet_distance(x, x)) < 1e-5


def test_the_kernel_distance_is_the_sum_over_pairs(rng):
    x, y = rng.standard_normal((2, 12, 6))
    k = lambda p, q: (sum(float(s * t) for s, t in zip(p, q, strict=True)) / 6 + 1) ** 3
    pairs = [(i, j) for i in range(12) for j in range(12)]
    apart = [(i, j) for i, j in pairs if i != j]
    mean = lambda values: sum(values) / len(values)
    expected = (
        mean([k(x[i], x[j]) for i, j in apart])
        + mean([k(y[i], y[j]) for i, j in apart])
        - 2 * mean([k(x[i], y[j]) for i, j in pairs])
    )
    assert fidelity.kernel_distance(x, y)[0] == pytest.approx(expected, rel=1e-9)


def test_the_kernel_distance_of_equal_distributions_is_zero_within_its_spread(rng):
    x, y = rng.standard_normal((2, 600, 8))
    mean, error = fidelity.kernel_distance(x, y, subset_size=200)
    assert abs(mean) < 0.01
    assert 0 < error < 0.01
    assert fidelity.kernel_distance(x, y + 1)[0] > 10 * abs(mean)
    assert fidelity.kernel_distance(x, y, subset_size=200) == (mean, error)  # by its seed


def test_the_inception_score_is_that_of_entropies(rng):
    logits = rng.standard_normal((60, 7)) * 3
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    parts = [
        np.exp(stats.entropy(q.mean(0)) - np.mean([stats.entropy(row) for row in q]))
        for q in p.reshape(4, 15, 7)
    ]
    mean, spread = fidelity.inception_score(logits, splits=4)
    assert mean == pytest.approx(np.mean(parts), rel=1e-9)
    assert spread == pytest.approx(np.std(parts), rel=1e-9)


def test_the_inception_score_runs_from_one_to_the_number_of_classes():
    assert fidelity.inception_score(np.zeros((20, 5)), splits=2) == pytest.approx((1.0, 0.0))
    sure = 1e4 * np.tile(np.eye(5), (4, 1))
    assert fidelity.inception_score(sure, splits=2)[0] == pytest.approx(5)


def brute_force(real, fake, k):
    def radius(points, i):
        return sorted(math.dist(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    def share(inner, outer):
        radii = [radius(outer, j) for j in range(len(outer))]
        hit = [any(math.dist(p, q) <= r for q, r in zip(outer, radii, strict=True)) for p in inner]
        return sum(hit) / len(inner)

    return share(fake, real), share(real, fake)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_brute_force_in_any_blocks(rng, k, monkeypatch):
    real = rng.standard_normal((40, 3)) + 100
    fake = rng.standard_normal((30, 3)) * 0.9 + [101.5, 100, 100]
    expected = brute_force(real.tolist(), fake.tolist(), k)
    assert all(0.05 < value < 1 for value in expected)
    assert manifold.precision_recall(real, fake, k=k) == pytest.approx(expected)
    monkeypatch.setattr(manifold, "_BLOCK", 70)
    assert manifold.precision_recall(real, fake, k=k) == pytest.approx(expected)


def test_a_set_is_precise_and_complete_for_itself_and_a_mode_of_it_is_only_precise(rng):
    x = rng.standard_normal((100, 10))
    assert manifold.precision_recall(x, x) == (1, 1)
    same = manifold.precision_recall(x, np.repeat(x[:4], 25, axis=0))
    assert same.precision == 1
    assert same.recall < 0.1


def test_the_nearest_are_in_order_with_their_distances(rng, monkeypatch):
    x, y = rng.standard_normal((7, 4)), rng.standard_normal((50, 4))
    monkeypatch.setattr(manifold, "_BLOCK", 100)
    indices, distances = manifold.nearest_neighbours(x, y, k=3)
    for i, point in enumerate(x):
        all_ = [math.dist(point, other) for other in y]
        assert indices[i].tolist() == np.argsort(all_)[:3].tolist()
        np.testing.assert_allclose(distances[i], sorted(all_)[:3], rtol=1e-9)


def test_the_clip_score_is_a_hundred_times_the_cosine_and_may_be_negative():
    x = np.array([[3.0, 0], [0, 2]])
    assert alignment.clip_score(x, np.array([[1.0, 0], [0, 1]])) == pytest.approx(100)
    assert alignment.clip_score(x, np.array([[-1.0, 0], [0, -9]])) == pytest.approx(-100)
    assert alignment.clip_score(x, np.array([[1.0, 1], [1, 0]])) == pytest.approx(50 * 2**-0.5)


def test_retrieval_counts_who_comes_before_the_own_caption(rng):
    x, y = rng.standard_normal((2, 25, 6))
    captions = [f"caption {i}" for i in range(25)]
    found = alignment.retrieval(x, y, captions, at=(1, 5))
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)
    order = np.argsort(-unit(x) @ unit(y).T, axis=1)
    place = np.array([list(row).index(i) for i, row in enumerate(order)])
    assert found["text_r@1"] == pytest.approx((place < 1).mean())
    assert found["text_r@5"] == pytest.approx((place < 5).mean())
    assert alignment.retrieval(x, x, captions)["image_r@1"] == 1


def test_equal_captions_are_no_rivals_and_ties_are_lost():
    x = np.array([[1.0, 0], [1, 0], [0, 1]])
    captions = ["red", "red", "blue"]
    assert alignment.retrieval(x, x, captions, at=(1,)) == {"text_r@1": 1, "image_r@1": 1}
    constant = np.ones((3, 2))
    assert alignment.retrieval(x, constant, captions, at=(1,))["text_r@1"] == 0
    assert alignment.own_caption_first(x, x, captions, candidates=2).all()
    assert not alignment.own_caption_first(x, constant, captions, candidates=2).any()
    swapped = alignment.own_caption_first(x[[0, 1, 0]], x, captions, candidates=2)
    assert swapped.tolist() == [True, True, False]


def test_r_precision_of_chance_is_one_in_the_candidates(rng):
    x, y = rng.standard_normal((2, 2000, 8))
    found = alignment.own_caption_first(x, y, [str(i) for i in range(2000)], candidates=10)
    assert found.mean() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 16), (16, 16), (50, 1000)])
def test_binomial_intervals_are_exact(right, n):
    low, high = intervals.binomial_interval(right, n)
    # The bounds are where the observed count just becomes a 2.5 % event.
    if right:
        assert stats.binom.sf(right - 1, n, low) == pytest.approx(0.025, rel=1e-6)
    if right < n:
        assert stats.binom.cdf(right, n, high) == pytest.approx(0.025, rel=1e-6)
    assert 0 <= low <= right / n <= high <= 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: frechet.moments_of(np.zeros((0, 3))),
        lambda: frechet.moments_of(np.full((2, 3), np.nan)),
        lambda: frechet.frechet_distance(gaussian([0], [[1]]), gaussian([0, 0], np.eye(2))),
        lambda: fidelity.kernel_distance(np.zeros((1, 3)), np.zeros((5, 3))),
        lambda: fidelity.inception_score(np.zeros((3, 4)), splits=10),
        lambda: manifold.precision_recall(np.zeros((3, 2)), np.zeros((9, 2))),
        lambda: manifold.nearest_neighbours(np.zeros((3, 2)), np.zeros((2, 2)), k=3),
        lambda: alignment.clip_score(np.zeros((3, 2)), np.zeros((2, 2))),
        lambda: alignment.retrieval(np.zeros((3, 2)), np.zeros((3, 2)), ["one"]),
        lambda: intervals.binomial_interval(11, 10),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(call):
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        call()
