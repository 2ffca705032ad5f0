"""The perceptual distance: what it is of equal, near and far pictures, and whom it teaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.networks.efficientnet import EfficientNetLite0
from glide_jax.training import perceptual


@pytest.fixture(scope="module")
def distance(cache):
    network = EfficientNetLite0(narrow=8)
    like = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    rng = np.random.default_rng(0)
    fill = lambda a: np.float32(rng.standard_normal(a.shape) / max(1, np.prod(a.shape[:-1])) ** 0.5)
    return jax.jit(perceptual.distance_in(jax.tree.map(fill, like["params"]), network))


def test_equal_pictures_are_nowhere_apart_and_others_the_farther_the_less_alike(distance):
    x = jax.random.uniform(jax.random.key(1), (3, 32, 32, 3), minval=-1)
    noise = jax.random.normal(jax.random.key(2), x.shape)
    same, near, far = (distance(x, x + s * noise) for s in (0.0, 0.05, 0.5))
    np.testing.assert_allclose(same, 0, atol=1e-6)
    assert (near > 1e-5).all()
    assert (far > near).all()
    assert (far <= 4).all()
    np.testing.assert_allclose(distance(x + noise, x), distance(x, x + noise), rtol=1e-4)


def test_each_picture_is_compared_with_its_own_row(distance):
    x = jax.random.uniform(jax.random.key(1), (3, 32, 32, 3), minval=-1)
    both = distance(x, jnp.roll(x, 1, axis=0).at[0].set(x[0]))
    assert both[0] < 1e-6
    assert (both[1:] > 1e-3).all()


def test_the_gradient_is_finite_where_a_picture_is_met_exactly(distance):
    x = jax.random.uniform(jax.random.key(1), (3, 32, 32, 3), minval=-1)
    towards = jax.grad(lambda a: distance(a, x).sum())
    assert bool(jnp.isfinite(towards(x)).all())
    away = x + 0.3
    step = away - 0.5 * towards(away) / jnp.linalg.norm(towards(away))
    assert distance(step, x).sum() < distance(away, x).sum()
