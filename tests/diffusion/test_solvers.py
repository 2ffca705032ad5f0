"""Solvers on data whose score is known: their order is measured, not assumed."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.diffusion import grids, samplers, schedules, solvers
from glide_jax.types import Prediction

MEAN, STD = 0.3, 0.2
ALPHA_BAR = schedules.alpha_bar("squaredcos_cap_v2")
ODE = [name for name, sampler in solvers.SAMPLERS.items() if not sampler.random]
identity = lambda x_0: x_0


def gaussian(x_t, t):
    """The best denoiser of pixels drawn from N(MEAN, STD^2)."""
    a = jnp.float32(ALPHA_BAR)[t][:, None, None, None]
    eps = jnp.sqrt(1 - a) * (x_t - jnp.sqrt(a) * MEAN) / (a * STD**2 + 1 - a)
    return Prediction(eps, jnp.zeros_like(x_t))


def exact(x_T: np.ndarray, start: int, end: int) -> np.ndarray:
    """Where the flow takes x_T, and the best x_0 there: every solver ends by returning that."""
    spread = lambda a: a * STD**2 + 1 - a
    a, b = ALPHA_BAR[start], ALPHA_BAR[end]
    away = np.sqrt(spread(b) / spread(a)) * (x_T - np.sqrt(a) * MEAN)
    return MEAN + np.sqrt(b) * STD**2 / spread(b) * away


@functools.cache
def program(name: str):
    def run(schedule, keys, x_t, history, start, stop):
        solver = solvers.SAMPLERS[name].make(gaussian, schedule, x0_fn=identity)
        return samplers.solve(solver, keys, x_t, history, schedule.num_steps, start, stop)

    return jax.jit(run)


def schedule_of(t) -> schedules.Schedule:
    return schedules.from_alpha_bar(ALPHA_BAR, t, pad_to=1000)


def draw(name: str, t: np.ndarray, n: int = 16) -> tuple[np.ndarray, np.ndarray]:
    keys = jax.random.split(jax.random.key(0), n)
    x_T = samplers.noise(keys, 0, (2, 2, 1))
    schedule, fresh = schedule_of(t), solvers.fresh(name, x_T)
    x_0, _ = program(name)(schedule, keys, x_T, fresh, 0, len(t))
    return np.asarray(x_0, np.float64), np.asarray(x_T, np.float64)


def slope(name: str, grid: str = "logsnr", counts=(16, 32, 64)) -> float:
    """Minus the power of the number of steps that the error falls with."""
    errors = []
    for count in counts:
        t = grids.timesteps(grid, count, ALPHA_BAR)
        x_0, x_T = draw(name, t)
        errors.append(np.sqrt(((x_0 - exact(x_T, t[-1], t[0])) ** 2).mean()))
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("ddim", 0.9, 1.1),
        ("heun", 1.8, 2.2),
        ("dpmpp_2m", 1.8, 2.2),
        ("unipc", 1.8, 3.2),  # the corrector adds an order to the predictor's two
        ("plms", 1.8, 2.6),
    ],
)
def test_errors_fall_with_the_stated_order(name, low, high):
    assert low < slope(name) < high


@pytest.mark.parametrize("grid", ["karras", "uniform"])
def test_the_order_holds_on_other_grids(grid):
    assert 0.9 < slope("ddim", grid) < 1.1
    assert 1.6 < slope("heun", grid, counts=(64, 128, 256)) < 2.5
    assert 1.8 < slope("dpmpp_2m", grid, counts=(64, 128, 256)) < 2.5


@pytest.mark.parametrize("name", [n for n, s in solvers.SAMPLERS.items() if s.random])
def test_random_samplers_draw_from_the_data(name):
    x_0, _ = draw(name, grids.timesteps("logsnr", 100, ALPHA_BAR), n=512)
    # 2,048 samples: standard errors 0.0044 of the mean and 0.0031 of the standard deviation
    assert abs(x_0.mean() - MEAN) < 0.015
    assert abs(x_0.std() - STD) < 0.012


def test_the_sde_of_second_order_needs_fewer_steps_than_ddpm():
    t = grids.timesteps("logsnr", 10, ALPHA_BAR)
    error = {name: abs(draw(name, t, n=512)[0].std() - STD) for name in ("ddpm", "dpmpp_2m_sde")}
    assert error["dpmpp_2m_sde"] < 0.012 < error["ddpm"]


@pytest.mark.parametrize("name", solvers.SAMPLERS)
def test_a_chain_cut_in_pieces_is_the_same_chain(name):
    t = grids.timesteps("karras", 9, ALPHA_BAR)
    whole, _ = draw(name, t, n=2)
    keys = jax.random.split(jax.random.key(0), 2)
    x_t = samplers.noise(keys, 0, (2, 2, 1))
    history = solvers.fresh(name, x_t)
    for start, stop in ((0, 1), (1, 2), (2, 6), (6, 9)):
        x_t, history = program(name)(schedule_of(t), keys, x_t, history, start, stop)
    np.testing.assert_array_equal(np.asarray(x_t), np.float32(whole))


@pytest.mark.parametrize("name", ODE)
def test_a_straight_flow_is_followed_exactly(name):
    # Where x_0 and eps do not change, x_t is alpha x_0 + sigma eps all along, in steps of any size.
    x_0, eps = jnp.full((1, 2, 2, 1), 0.4), jnp.full((1, 2, 2, 1), -1.3)
    schedule = schedule_of(grids.timesteps("karras", 8, ALPHA_BAR))
    n = int(schedule.num_steps)

    def straight(x_t, t):
        s = schedule.at_timestep(t)
        return Prediction(samplers.predict_eps(s, x_t, x_0), x_t)

    solver = solvers.SAMPLERS[name].make(straight, schedule, x0_fn=identity)
    start = samplers.q_sample(schedule.at(n - 1), x_0, eps)
    keys, fresh = jax.random.split(jax.random.key(0), 1), solvers.fresh(name, start)
    run = jax.jit(lambda stop: samplers.solve(solver, keys, start, fresh, n, 0, stop)[0])
    for stop in range(1, n):
        expected = samplers.q_sample(schedule.at(n - 1 - stop), x_0, eps)
        np.testing.assert_allclose(run(stop), expected, atol=1e-3)
    np.testing.assert_allclose(run(n), x_0, atol=1e-4)


@pytest.mark.parametrize("name", solvers.SAMPLERS)
def test_a_single_step_returns_x_0(name):
    t = grids.timesteps("uniform", 1, ALPHA_BAR)
    x_0, x_T = draw(name, t, n=2)
    np.testing.assert_allclose(x_0, exact(x_T, t[0], t[0]), atol=2e-4)


@pytest.mark.parametrize("name", [n for n, s in solvers.SAMPLERS.items() if s.remembers])
def test_nothing_is_built_on_the_unsafe_end(name):
    keys = jax.random.split(jax.random.key(0), 1)
    x_t = samplers.noise(keys, 0, (2, 2, 1))
    schedule, history = schedule_of(schedules.respace("200")), solvers.fresh(name, x_t)
    lam, taken = grids.half_log_snr(ALPHA_BAR[np.asarray(schedule.t[:200])]), []
    for k in range(4):
        x_t, history = program(name)(schedule, keys, x_t, history, k, k + 1)
        taken.append(int(history.taken))
    assert lam[199] < grids.LAMBDA_MIN < lam[198]
    assert taken[:2] == [0, 1]
    assert taken == sorted(taken)


def remembers(memory):
    """The denoiser of the Gaussian, pushed away by the number of steps that it remembers."""

    def denoise(x_t, t):
        out = gaussian(x_t, t)
        return out._replace(eps=out.eps + 0.01 * memory, memory=memory + 1.0)

    return denoise


@pytest.mark.parametrize("name", solvers.SAMPLERS)
def test_guidance_remembers_once_a_step_in_chains_run_in_pieces_too(name):
    schedule, keys = schedule_of(grids.timesteps("logsnr", 6, ALPHA_BAR)), jnp.arange(2)
    keys = jax.vmap(jax.random.key)(keys)
    x_T = samplers.noise(keys, 0, (2, 2, 1))
    make = functools.partial(solvers.SAMPLERS[name].make, schedule=schedule, x0_fn=identity)

    @jax.jit
    def run(x_t, history, start, stop):
        solver = solvers.remembering(make, remembers)
        return samplers.solve(solver, keys, x_t, history, 6, start, stop)

    fresh = (solvers.fresh(name, x_T), jnp.zeros((2, 1, 1, 1)))
    whole, (_, memory) = run(x_T, fresh, 0, 6)
    np.testing.assert_array_equal(memory, jnp.full((2, 1, 1, 1), 6.0))
    np.testing.assert_array_equal(run(*run(x_T, fresh, 0, 2), 2, 6)[0], whole)
    x_t, own = x_T, fresh[0]
    for k in range(6):
        solver = make(lambda x_t, t, k=k: remembers(float(k))(x_t, t)._replace(memory=()))
        x_t, own = solver(x_t, jnp.int32(5 - k), samplers.noise(keys, k + 1, (2, 2, 1)), own)
    np.testing.assert_allclose(x_t, whole, atol=1e-5)


def papers_unipc(x_T: np.ndarray, t: np.ndarray) -> np.ndarray:
    """UniPC-2 as its authors write it, with weights a of R(h) a = b(h) / B(h) (their section 3)."""
    alpha, sigma = np.sqrt(ALPHA_BAR[t]), np.sqrt(1 - ALPHA_BAR[t])
    lam = np.log(alpha / sigma)

    def x_0_at(x, k):
        spread = alpha[k] ** 2 * STD**2 + sigma[k] ** 2
        return MEAN + alpha[k] * STD**2 / spread * (x - alpha[k] * MEAN)

    def weights(ratios, h):
        """Solves for a with b_n = n! h^n phi_{n+1}(-h) in the x_0 form."""
        phi, b = np.expm1(-h) / -h - 1, []
        for n in range(1, len(ratios) + 1):
            b.append(phi * math.factorial(n) / np.expm1(-h))
            phi = phi / -h - 1 / math.factorial(n + 1)
        return np.linalg.solve([[r**n for r in ratios] for n in range(len(ratios))], b)

    order = np.argsort(-t)  # noisiest first
    x, values = x_T, [x_0_at(x_T, order[0])]
    for step, (k, k_next) in enumerate(itertools.pairwise(order)):
        h, m_0 = lam[k_next] - lam[k], values[-1]
        B = np.expm1(-h)
        plain = sigma[k_next] / sigma[k] * x - alpha[k_next] * B * m_0
        predicted, differences, ratios = plain, [], []
        if step > 0:
            ratios = [(lam[order[step - 1]] - lam[k]) / h]
            differences = [(values[-2] - m_0) / ratios[0]]
            predicted = plain - alpha[k_next] * B * 0.5 * differences[0]
        new = x_0_at(predicted, k_next)
        a = weights([*ratios, 1.0], h) if ratios else [0.5]
        moved = sum(w * d for w, d in zip(a, [*differences, new - m_0], strict=True))
        x = plain - alpha[k_next] * B * moved
        values.append(new)
    return values[-1]


@pytest.mark.parametrize(("grid", "steps"), [("logsnr", 3), ("logsnr", 4), ("karras", 7)])
def test_unipc_is_the_papers_from_its_first_correction_on(grid, steps):
    t = grids.timesteps(grid, steps, ALPHA_BAR)
    x_0, x_T = draw("unipc", t, n=2)
    np.testing.assert_allclose(x_0, papers_unipc(x_T, t), atol=3e-5)
