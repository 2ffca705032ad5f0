"""The objective, on a network that can be read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.diffusion import losses, parameterization, samplers, schedules
from glide_jax.errors import InputError
from glide_jax.training import objectives
from glide_jax.training.sections import Diffusion
from glide_jax.types import Prediction, TextCond

SCHEDULE = schedules.from_alpha_bar(schedules.alpha_bar("squaredcos_cap_v2"))
NULL = jnp.zeros(4, jnp.int32)
KEY = jax.random.key(1)


def encode(params, tokens, mask):
    return TextCond(tokens.astype(jnp.float32).mean(axis=1, keepdims=True), {})


def linear(params, x_t, t, cond, *, train, rngs):
    assert train
    assert set(rngs) == {"dropout"}
    out = params["scale"] * x_t + params["text"] * cond.text.pooled[:, :, None, None]
    return Prediction(out, jnp.full_like(x_t, params["var"]))


def batch(key=0):
    image = jax.random.uniform(jax.random.key(key), (8, 4, 4, 3), minval=-1)
    return objectives.Batch(image, jnp.ones((8, 4), jnp.int32), jnp.ones((8, 4), bool))


PARAMS = {"scale": jnp.float32(0.0), "text": jnp.float32(0.0), "var": jnp.float32(0.5)}


def make(network=linear, token_logits=None, perceive=None, **options):
    options = Diffusion(**{"null_fraction": 0.2} | options)
    return objectives.text_to_image(
        network, encode, SCHEDULE, NULL, options, token_logits, perceive
    )


def test_the_variance_term_leaves_eps_alone():
    gradient = jax.jit(lambda w: jax.grad(make(vb_weight=w), has_aux=True)(PARAMS, batch(), KEY)[0])
    without, with_vb = gradient(0.0), gradient(1e-3)
    assert float(without["scale"]) == pytest.approx(float(with_vb["scale"]), rel=1e-6)
    assert without["var"] == 0
    assert with_vb["var"] != 0


@pytest.mark.parametrize(("fraction", "moves"), [(0.0, True), (1.0, False)])
def test_dropped_captions_are_empty(fraction, moves):
    loss = make(null_fraction=fraction)
    gradient, _ = jax.jit(jax.grad(loss, has_aux=True))(PARAMS, batch(), KEY)
    assert (abs(float(gradient["text"])) > 1e-6) is moves


def test_a_network_that_predicts_v_exactly_has_no_error():
    x_0 = batch().image

    def oracle(params, x_t, t, cond, **_):
        s = SCHEDULE.at(t)
        eps = (x_t - s.sqrt_alpha_bar * x_0) / s.sqrt_one_minus_alpha_bar
        return Prediction(parameterization.v_target(s, x_0, eps), jnp.zeros_like(x_t))

    loss = make(oracle, prediction="v", vb_weight=0.0)
    value, metrics = jax.jit(loss)(PARAMS, batch(), KEY)
    assert float(value) < 1e-5
    assert float(metrics["mse"]) < 1e-5


def test_the_cap_on_signal_to_noise_only_lowers_clean_timesteps():
    value = lambda **o: float(jax.jit(make(vb_weight=0.0, **o))(PARAMS, batch(), KEY)[0])
    assert value(max_snr=5.0) < value()
    assert value(max_snr=1e12) == pytest.approx(value(), rel=1e-5)


SNR = np.array([1e-9, 0.02, 1.0, 5.0, 40.0])  # float64, noisy to clean


@pytest.mark.parametrize(
    ("prediction", "name", "expected"),
    [
        ("eps", "min_snr_gamma", np.minimum(SNR, 5.0) / SNR),
        ("v", "min_snr_gamma", np.minimum(SNR, 5.0) / (SNR + 1.0)),
        ("eps", "max_snr", np.minimum(SNR, 5.0) / SNR),
        ("v", "max_snr", (np.minimum(SNR, 5.0) + 1.0) / (SNR + 1.0)),
    ],
)
def test_weights_by_signal_to_noise_are_those_of_their_names(prediction, name, expected):
    weight = {"min_snr_gamma": losses.min_snr_weight, "max_snr": losses.max_snr_weight}[name]
    found = weight(jnp.float32(SNR), 5.0, prediction)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_run_weighs_the_error_of_v_as_the_field_says():
    # The network is wrong by 1 in every pixel, so that the loss is the mean of the weights.
    x_0 = batch().image

    def wrong(params, x_t, t, cond, **_):
        s = SCHEDULE.at(t)
        eps = (x_t - s.sqrt_alpha_bar * x_0) / s.sqrt_one_minus_alpha_bar
        return Prediction(parameterization.v_target(s, x_0, eps) + 1.0, jnp.zeros_like(x_t))

    a = schedules.alpha_bar("squaredcos_cap_v2")[
        np.asarray(jax.random.randint(jax.random.split(KEY, 6)[0], (8,), 0, 1000))
    ]
    snr = a / (1 - a)
    for name, expected in (
        ("min_snr_gamma", np.minimum(snr, 5.0) / (snr + 1.0)),
        ("max_snr", (np.minimum(snr, 5.0) + 1.0) / (snr + 1.0)),
    ):
        loss = make(wrong, prediction="v", vb_weight=0.0, **{name: 5.0})
        value, metrics = jax.jit(loss)(PARAMS, batch(), KEY)
        assert float(value) == pytest.approx(expected.mean(), rel=2e-3)
        assert float(metrics["mse"]) == pytest.approx(1.0, rel=2e-3)


def test_a_network_that_predicts_x_0_is_trained_on_the_error_of_its_v():
    # Wrong by 0.1 in every pixel, which is 0.1 / sqrt(1 - alpha_bar) in v.
    wrong = lambda params, x_t, t, cond, **_: Prediction(batch().image + 0.1, jnp.zeros_like(x_t))
    a = schedules.alpha_bar("squaredcos_cap_v2")[
        np.asarray(jax.random.randint(jax.random.split(KEY, 6)[0], (8,), 0, 1000))
    ]
    loss = make(wrong, prediction="x_0", vb_weight=0.0, max_snr=5.0)
    value, metrics = jax.jit(loss)(PARAMS, batch(), KEY)
    assert float(metrics["mse"]) == pytest.approx((0.01 / (1 - a)).mean(), rel=2e-3)
    expected = 0.01 * (np.minimum(a / (1 - a), 5.0) + 1.0)
    assert float(value) == pytest.approx(expected.mean(), rel=2e-3)


@pytest.mark.parametrize("prediction", ["eps", "v", "x_0"])
def test_the_perceptual_loss_sees_the_predicted_picture_where_it_is_clear(prediction):
    x_0 = batch().image

    def oracle(params, x_t, t, cond, **_):
        s, wrong = SCHEDULE.at(t), x_0 + 0.1
        eps = (x_t - s.sqrt_alpha_bar * wrong) / s.sqrt_one_minus_alpha_bar
        found = {"eps": eps, "x_0": wrong, "v": parameterization.v_target(s, wrong, eps)}
        return Prediction(found[prediction], jnp.zeros_like(x_t))

    perceive = lambda a, b: (a - b).mean(axis=(1, 2, 3))
    options = {"prediction": prediction, "vb_weight": 0.0}
    loss = lambda weight: jax.jit(
        make(oracle, perceive=perceive, perceptual_weight=weight, **options)
    )(PARAMS, batch(), KEY)
    i = np.asarray(jax.random.randint(jax.random.split(KEY, 6)[0], (8,), 0, 1000))
    clear = (schedules.alpha_bar("squaredcos_cap_v2")[i] > 0.5).mean()
    assert 0 < clear < 1
    (without, _), (value, metrics) = loss(0.0), loss(0.5)
    assert float(metrics["perceptual"]) == pytest.approx(0.1 * clear, rel=2e-3)
    assert float(value - without) == pytest.approx(0.05 * clear, rel=0.02, abs=1e-5)


def test_a_perceptual_loss_without_its_teacher_is_refused():
    with pytest.raises(InputError, match=r"perceptual_weight is 0\.1, which needs the network"):
        make(perceptual_weight=0.1)


def test_min_snr_leaves_the_noisy_end_of_v_next_to_nothing():
    a = schedules.alpha_bar("squaredcos_cap_v2")[900]
    assert float(losses.min_snr_weight(a / (1 - a), 5.0, "v")) == pytest.approx(0.024, abs=5e-4)
    assert float(losses.max_snr_weight(a / (1 - a), 5.0, "v")) == pytest.approx(1.0)


def test_noising_has_unit_variance_at_every_timestep():
    noise = jax.random.normal(jax.random.key(5), (1000, 4, 4, 3))
    x_t = samplers.q_sample(SCHEDULE.at(jnp.arange(1000)), jnp.zeros_like(noise), noise)
    np.testing.assert_allclose(x_t[999], noise[999], atol=1e-4)
    assert float(jnp.abs(x_t[0]).max()) < 0.1


def test_the_batch_decides_what_the_network_is_told():
    seen = {}

    def network(params, x_t, t, cond, **_):
        seen.update(cond._asdict())
        return Prediction(x_t, x_t)

    given = batch()._replace(low_res=jnp.ones((8, 1, 1, 3)))
    given = given._replace(known=given.image, mask_known=jnp.ones((8, 4, 4, 1)))
    make(network)(PARAMS, given, jax.random.key(0))
    for name in ("low_res", "known", "mask_known"):
        assert seen[name] is getattr(given, name)


def test_the_whole_is_the_mean_of_the_deterministic_part_at_the_steps_it_drew():
    options = {"vb_weight": 1e-2}
    value, metrics = jax.jit(make(**options, max_snr=3.0, null_fraction=0.0))(
        PARAMS, batch(), jax.random.key(7)
    )
    i_key, eps_key = jax.random.split(jax.random.key(7), 6)[:2]
    i = jax.random.randint(i_key, (8,), 0, 1000)
    eps = jax.random.normal(eps_key, (8, 4, 4, 3))
    cond = objectives.condition(batch(), encode(PARAMS, batch().tokens, None))
    denoise = lambda x_t, t: linear(PARAMS, x_t, t, cond, train=True, rngs={"dropout": 0})
    weigh = lambda snr: jnp.minimum(3.0 / snr, 1.0)
    arrays = (batch().image, i, eps)
    terms, _ = objectives.hybrid_loss(denoise, SCHEDULE, *arrays, weigh=weigh, **options)
    assert float(value) == pytest.approx(float(terms.loss.mean()), rel=1e-6)
    for k in range(4):
        inside = np.asarray(i) // 250 == k
        assert float(metrics[f"count_q{k}"]) == inside.sum()
        if inside.any():
            mean = np.asarray(terms.mse)[inside].mean()
            assert float(metrics[f"mse_q{k}"]) == pytest.approx(mean, rel=1e-5)


def test_the_noisiest_timesteps_can_have_a_share_of_their_own():
    _, metrics = jax.jit(make(noisy_share=1.0))(PARAMS, batch(), KEY)
    assert [float(metrics[f"count_q{k}"]) for k in range(4)] == [0, 0, 0, 8]
    _, wider = jax.jit(make(noisy_share=1.0, noisy_from=0.5))(PARAMS, batch(), KEY)
    assert float(wider["count_q2"] + wider["count_q3"]) == 8
    assert float(wider["count_q2"]) > 0
    assert all(np.isfinite(value) for value in metrics.values())


def test_an_unknown_prediction_names_the_known_ones():
    with pytest.raises(InputError, match="eps, v, x_0"):
        make(prediction="score")


def test_the_network_drops_out_by_the_key_of_the_step_only():
    def dropping(params, x_t, t, cond, *, train, rngs):
        kept = jax.random.bernoulli(rngs["dropout"], 0.5, x_t.shape)
        return Prediction(params["scale"] + x_t * kept, x_t)

    loss = jax.jit(make(dropping))
    value = lambda seed: float(loss(PARAMS, batch(), jax.random.key(seed))[0])
    assert value(0) == value(0)
    assert value(0) != value(1)


def test_the_text_loss_is_added_with_its_weight_and_only_then_computed():
    logits = lambda params, tokens, mask: jnp.zeros((*tokens.shape, 50))
    run = lambda **o: jax.jit(make(**o))(PARAMS, batch(), KEY)
    plain, metrics = run()
    assert "text" not in metrics
    value, metrics = run(token_logits=logits, text_loss_weight=0.5)
    assert float(metrics["text"]) == pytest.approx(np.log(50), rel=1e-5)
    assert float(value - plain) == pytest.approx(0.5 * np.log(50), rel=1e-4)
