"""The table of distances, on a stage whose flow is known: Gaussian pixels."""

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import types
from glide_jax.diffusion import schedules
from glide_jax.sampling import cascade
from glide_jax.types import Cond, Prediction
from launch.studies import convergence

ALPHA_BAR = schedules.alpha_bar("squaredcos_cap_v2")


def bind(params):
    def network(x_t, t, cond):
        a = jnp.float32(ALPHA_BAR)[t][:, None, None, None]
        eps = jnp.sqrt(1 - a) * (x_t - jnp.sqrt(a) * params) / (a * 0.04 + 1 - a)
        return Prediction(eps, jnp.zeros_like(x_t))

    return network


def test_distances_fall_with_evaluations_and_order(cache):
    stage = types.Stage(bind, lambda *_: None, ALPHA_BAR, 4, 1, 1, False, False)
    keys = cascade.image_keys(0, np.arange(2), 0)
    draw = convergence.drawing(stage, jnp.float32(0.1), keys, Cond(), None)
    counts = (16, 64)
    rows = convergence.measure(draw, counts, ("ddim", "dpmpp_2m"), ("logsnr",))
    first, second = (row.distances for row in rows)
    assert first[0] > first[1] > second[1]
    assert 3 < first[0] / first[1] < 5  # four times the steps
    assert second[0] / second[1] > 8


def test_an_evaluation_is_an_evaluation_whoever_asks():
    assert convergence.steps_of("dpmpp_2m", 10) == 10
    assert convergence.steps_of("heun", 10) == 5  # nine evaluations: the last step takes one
    assert convergence.steps_of("heun", 1) == 1


def test_distance_is_relative_to_the_pixels_own_spread():
    reference = np.asarray(jax.random.normal(jax.random.key(0), (2, 4, 4, 3)))
    assert convergence.distance(reference, reference) == 0
    away = convergence.distance(reference + 0.5 * reference.std(), reference)
    np.testing.assert_allclose(away, 0.5, rtol=1e-5)


def test_the_table_marks_the_best_of_each_column():
    rows = [
        convergence.Row("ddim", "", (0.2, 0.01)),
        convergence.Row("unipc", "logsnr", (0.1, 0.02)),
    ]
    lines = convergence.distance_table(rows, (5, 10)).splitlines()
    assert lines[0] == "| sampler | grid | 5 | 10 |"
    assert lines[2] == "| ddim | respaced | 20.00 | **1.00** |"
    assert lines[3] == "| unipc | logsnr | **10.00** | 2.00 |"
