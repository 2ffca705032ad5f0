"""Chains of a stage whose best denoiser is known: scores leave x_t as spread as it has to be."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from glide_jax.diffusion import grids, guidance, schedules
from glide_jax.diffusion.solvers import SAMPLERS
from glide_jax.sampling import cascade, running
from glide_jax.sampling.settings import StageSettings, Steps
from glide_jax.types import Cond, Prediction, Stage, TextCond

STD, SIDE, N = 0.3, 4, 64
ALPHA_BAR = schedules.alpha_bar("squaredcos_cap_v2")
# As steep in each pixel as the boxed CLIP of shapes at scale 1, where pictures are mostly noise.
PATTERN = jnp.where(jnp.indices((SIDE, SIDE, 3)).sum(0) % 2 == 0, 0.01, -0.01)


def _network(params):
    """The best denoiser of pixels drawn from N(0, STD^2)."""

    def predict(x_t, t, cond):
        a = params[t][:, None, None, None]
        return Prediction(jnp.sqrt(1 - a) * x_t / (a * STD**2 + 1 - a), jnp.zeros_like(x_t))

    return predict


STAGE = Stage(_network, lambda *_: None, ALPHA_BAR, SIDE, 1, 1, False, False)


def along_pattern(x_t, t):
    """A learned log-probability, whose gradient does not vanish with alpha as a true one's does."""
    return (PATTERN * x_t).sum((1, 2, 3))


def clean_along_pattern(x_0):
    return (PATTERN * x_0).sum((1, 2, 3))


LOG_PROB, CLEAN = Partial(along_pattern), Partial(clean_along_pattern)


def chain(sampler, steps, scale=None, on="x_t", **settings):
    """The timesteps, noisiest first, and x_t before the chain and after every step of it."""
    pulls = () if scale is None else (cascade.Pull({"x_t": LOG_PROB, "x_0": CLEAN}[on], scale),)
    guides = cascade.Guides(**{f"on_{on}": pulls})
    settings = StageSettings(Steps(steps), sampler, **settings)
    keys = cascade.image_keys(0, np.arange(N), 0)
    inputs = cascade.Inputs(jnp.float32(ALPHA_BAR), keys, Cond(), None, guides)
    seen = []
    keep = lambda done, total, x_t: seen.append(np.asarray(x_t, np.float64))
    running.Running(STAGE, inputs, settings).finish(keep)
    schedule = cascade.schedule_of(STAGE, settings)
    return np.asarray(schedule.t[:steps])[::-1], seen


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    monkeypatch.setattr(running, "_SECONDS_BETWEEN_REPORTS", 0.0)


FAST = ("ddim", "dpmpp_2m", "unipc")
EVERY = [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in SAMPLERS]


@pytest.mark.parametrize("sampler", EVERY)
@pytest.mark.parametrize("grid", ["", "uniform"])
def test_a_score_leaves_x_t_as_spread_as_the_data_and_the_noise_are(sampler, grid):
    spread = lambda seen: np.array([x_t.std() for x_t in seen])
    fewest = 20 if sampler == "renoised" else 10  # its steps are of twice the length
    for steps, scale in ((fewest, 1.0), (fewest, 5.0), (25, 5.0), (100, 5.0)):
        t, seen = chain(sampler, steps, scale, grid=grid)
        found, plain = spread(seen), spread(chain(sampler, steps, 0.0, grid=grid)[1])
        np.testing.assert_allclose(found, plain, rtol=0.25)
        a = ALPHA_BAR[t[1:]]  # after each step but the last, which gives x_0
        right = np.sqrt(a * STD**2 + 1 - a)
        noisy = t[1:] > 200  # few steps of second order overshoot after that, guided or not
        np.testing.assert_allclose(found[:-1][noisy], right[noisy], rtol=0.1)


@pytest.mark.parametrize("sampler", EVERY)
def test_a_score_rests_where_eps_is_magnified_and_works_from_there(sampler):
    rests = {"ddpm": 0}.get(sampler, 1)
    for on in ("x_t", "x_0") if sampler == "ddim" else ("x_t",):
        (t, plain), (_, guided) = (chain(sampler, 25, scale, on) for scale in (0.0, 3.0))
        lam = grids.half_log_snr(ALPHA_BAR[t])
        assert (lam < grids.LAMBDA_MIN).sum() == 1
        for k in range(rests):
            np.testing.assert_array_equal(guided[k], plain[k])
        assert (guided[rests] != plain[rests]).any()
        # What it asks for it gets: every x_0 goes along the pattern.
        moved = ((guided[-1] - plain[-1]) * np.asarray(PATTERN)).sum((1, 2, 3))
        assert (moved > 0).all()


def test_a_step_of_ddim_from_the_last_timestep_is_the_unguided_one_in_numbers():
    t, seen = chain("ddim", 10, 5.0)
    keys = cascade.image_keys(0, np.arange(N), 0)
    x_T = np.asarray(cascade.programs().start(keys, jnp.float32(1), shape=(SIDE, SIDE, 3)))
    a, b = ALPHA_BAR[t[0]], ALPHA_BAR[t[1]]
    x_0 = np.clip(np.sqrt(a) * STD**2 / (a * STD**2 + 1 - a) * x_T, -1, 1)
    eps = (x_T - np.sqrt(a) * x_0) / np.sqrt(1 - a)
    np.testing.assert_allclose(seen[0], np.sqrt(b) * x_0 + np.sqrt(1 - b) * eps, atol=2e-3)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_the_interval_limits_scores(sampler):
    draw = functools.partial(chain, sampler, 10)
    plain, low, high = (
        draw(scale, guidance_interval=ends)[1]
        for scale, ends in ((0.0, (0, 999)), (3.0, (0, 400)), (3.0, (600, 900)))
    )
    t = draw(3.0)[0]
    begins = int((t > 400).sum())  # steps before the interval
    np.testing.assert_array_equal(low[begins - 1], plain[begins - 1])
    assert (low[begins] != plain[begins]).any()
    first = int((t > 900).sum())
    assert (high[first] != plain[first]).any()
    none = draw(3.0, guidance_interval=(900.5, 900.6))[1]
    np.testing.assert_array_equal(none[-1], plain[-1])


def _text_network(params):
    """eps is the condition, so that a mix of predictions is the mix of conditions."""

    def predict(x_t, t, cond):
        return Prediction(cond.text.pooled[:, :, None, None] * x_t, 0.3 + 0 * x_t)

    return predict


TEXTS = [TextCond(jnp.full((1, 1), value), {}) for value in (0.9, 0.5, -0.4)]
WEIGHTS = jnp.float32([0.8, 0.5, -0.3])
TEXT_STAGE = STAGE._replace(network=_text_network)


@pytest.mark.parametrize("scale", [2.0, 7.0])
def test_a_model_that_is_its_own_weak_model_changes_nothing_of_a_mix(scale):
    first = Cond(text=TextCond(jnp.broadcast_to(TEXTS[0].pooled, (N, 1)), {}))
    mix = cascade.Mix(tuple(TEXTS[1:]), WEIGHTS)
    own = cascade.Weak(Partial(_text_network, 0.0), first.text, mix.texts, scale)
    other = own._replace(mix=(TEXTS[1], TEXTS[1]))
    keys = cascade.image_keys(0, np.arange(N), 0)

    def draw(weak):
        inputs = cascade.Inputs(
            jnp.float32(0), keys, first, None, cascade.Guides((), (), mix, weak)
        )
        return running.Running(TEXT_STAGE, inputs, StageSettings(Steps(4), "ddim")).finish()

    np.testing.assert_allclose(draw(own), draw(None), atol=1e-3)
    assert float(jnp.abs(draw(other) - draw(None)).max()) > 0.1


def test_autoguidance_of_a_mix_is_the_extrapolation_of_both_mixes():
    mixed = lambda values: float(np.dot(np.float64(WEIGHTS), values))
    good, bad = [0.9, 0.5, -0.4], [0.1, 0.2, 0.6]
    conds = [Cond(text=TextCond(jnp.full((2, 1), value), {})) for value in good]
    worse = [Cond(text=TextCond(jnp.full((2, 1), value), {})) for value in bad]
    weak = guidance.unguided(_text_network(0.0), worse, WEIGHTS), 3.0
    network, schedule = _text_network(0.0), schedules.from_alpha_bar(ALPHA_BAR)
    guide, _ = guidance.assemble(network, conds, WEIGHTS, None, {}, schedule, weak)
    found = guide(())(jnp.ones((2, 4, 4, 3)), jnp.array([5, 5])).eps
    expected = mixed(bad) + 3.0 * (mixed(good) - mixed(bad))
    np.testing.assert_allclose(found, np.full((2, 4, 4, 3), expected), rtol=1e-5)
