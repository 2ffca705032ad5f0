"""Training losses, their gradients and the terms of the variational bound on fixed arrays.

The package trains LEARNED_RANGE on EPSILON with `hybrid`. The reference's other kinds of variance
and target differ in the Gaussian that a network's output stands for, so here each kind is built
from the functions of the package, and its loss from `vb_term`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.diffusion import constraints, losses, samplers
from glide_jax.types import Prediction
from tests.golden.compare import Entry, Tolerance, check, entry
from tests.golden.files import Arrays, read_json, read_npz
from tests.golden.perturbing import Family, assert_seen
from tests.golden.test_steps import schedule_of
from tests.golden.weights import nchw, nhwc

LOSS = Tolerance(max=5e-5, per="element")
# A bounded x_0 makes the true value at t = T-1 nearly 0, and its parts cancel to that.
BOUNDED = Tolerance(max=5e-5, absolute=1e-6, per="element")
FUNCTIONS = {"discretized_gaussian_log_likelihood", "normal_kl", "approx_standard_normal_cdf"}


def read(goldens, case) -> tuple[Arrays, dict[str, list[float]]]:
    """The arrays of a case, and the float32 error of the reference, by key and image."""
    report = read_json(goldens / "diffusion", "report")
    report = report.get("loss_f32_vs_f64_relative_per_batch_item", {})
    arrays, start = read_npz(goldens / "diffusion", "losses"), f"{case}/"
    shared = {k: arrays[k] for k in ("in_x_start", "in_noise", "in_model_output")}
    arrays = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
    own = {k.removeprefix(start): error for k, error in report.items() if k.startswith(start)}
    return shared | arrays, own


@dataclasses.dataclass
class Case:
    """One kind of loss at the steps i of one diffusion."""

    name: str
    i: jax.Array
    x_0: jax.Array
    noise: jax.Array

    def __post_init__(self):
        _, _, self.loss, self.variance, self.target = self.name.split("/")
        self.schedule = schedule_of(self.name)
        self.s = self.schedule.at(self.i)
        self.x_t = samplers.q_sample(self.s, self.x_0, self.noise)

    def gaussian(self, out: jax.Array, x0_fn) -> samplers.Gaussian:
        """p(x_{t-1} | x_t) that the six channels of a network stand for."""
        first, v = jnp.split(out, 2, axis=-1)
        x_0 = first
        if self.target == "EPSILON":
            x_0 = samplers.predict_x_0(self.s, self.x_t, first)
        x_0 = x0_fn(x_0)
        mean = samplers.q_posterior_mean(self.s, x_0, self.x_t)
        at_0 = (self.i == 0)[:, None, None, None]
        log_var = {
            "LEARNED_RANGE": v,  # computed below
            "LEARNED": v,
            "FIXED_SMALL": self.s.log_var_min,
            "FIXED_LARGE": jnp.where(at_0, self.s.log_var_min, self.s.log_var_max),
        }[self.variance]
        if (self.variance, self.target) == ("LEARNED_RANGE", "EPSILON"):
            prediction = Prediction(first, (v + 1.0) / 2.0)
            return samplers.p_mean_variance(self.s, self.x_t, prediction, x0_fn)
        return samplers.Gaussian(mean, log_var, x_0)

    def vb(self, out: jax.Array, x0_fn=lambda x: x) -> jax.Array:
        p = self.gaussian(out, x0_fn)
        return losses.vb_term(self.s, self.i, self.x_0, self.x_t, p)

    def terms(self, out: jax.Array) -> dict[str, jax.Array]:
        """The reference's `training_losses`."""
        num_steps = self.schedule.num_steps
        if self.loss in ("KL", "RESCALED_KL"):
            return {"loss": self.vb(out) * (num_steps if self.loss == "RESCALED_KL" else 1.0)}
        first, v = jnp.split(out, 2, axis=-1)
        weight = 1e-3 if self.loss == "RESCALED_MSE" else 1.0 / num_steps
        if (self.variance, self.target) == ("LEARNED_RANGE", "EPSILON"):
            prediction = Prediction(first, (v + 1.0) / 2.0)
            arrays = (self.i, self.x_0, self.x_t, self.noise)
            return losses.hybrid(self.schedule, *arrays, prediction, vb_weight=weight)._asdict()
        target = self.x_0 if self.target == "START_X" else self.noise
        mse = ((target - first) ** 2).mean(axis=(1, 2, 3))
        if self.variance.startswith("FIXED"):
            return {"loss": mse, "mse": mse}
        frozen = jnp.concatenate([jax.lax.stop_gradient(first), v], axis=-1)
        vb = self.vb(frozen) * num_steps * weight
        return {"loss": mse + vb, "mse": mse, "vb": vb}


def entries(stored: Arrays, own_error: dict, name: str) -> list[Entry]:
    arrays = (nhwc(stored[f"in_{k}"]) for k in ("x_start", "noise", "model_output"))
    x_0, noise, out = arrays
    case = Case(name, jnp.asarray(stored["in_t"]), x_0, noise)
    ours = dict(case.terms(out))
    ours["vb_terms_bpd_clip0"] = case.vb(out)
    ours["vb_terms_bpd_clip1"] = case.vb(out, constraints.clip)
    ours["prior_bpd"] = losses.prior_bpd(case.schedule, x_0)
    found = []
    for key, a in ours.items():
        bounded = key.startswith("vb_terms") and (key.endswith("clip1") or case.target == "START_X")
        double = BOUNDED if bounded else LOSS
        size = np.abs(a) * (1.0 + np.array(own_error.get(key, 0.0)) / double.max)
        single = dataclasses.replace(double, per="array", scale=size)
        found.append(entry(a, (f"{key}/f64", double), (f"{key}/f32", single)))

    gradient = nchw(jax.grad(lambda out: case.terms(out)["loss"].mean())(out))
    # The likelihood term at t = 0 divides by a difference of two nearly equal probabilities.
    bound = np.where(stored["in_t"] == 0, 5e-3, 5e-5)[:, None, None, None]
    key = "dmeanloss_dmodel_output"
    size = np.sqrt(np.mean(gradient**2, axis=(1, 2, 3), keepdims=True))
    tolerance = Tolerance(max=1.0, scale=bound * size)
    return [*found, entry(gradient, (f"{key}/f64", tolerance), (f"{key}/f32", tolerance))]


def function_entries(stored: Arrays) -> list[Entry]:
    array = lambda key: jnp.asarray(stored[key])
    x = array("in_x_start")
    ours = {
        "discretized_gaussian_log_likelihood": losses.discretized_log_likelihood(
            x, array("in_means"), array("in_log_scales")
        ),
        "normal_kl": losses.normal_kl(
            array("in_means"), array("in_log_scales"), array("in_means2"), array("in_logvar2")
        ),
        "approx_standard_normal_cdf": losses.approx_standard_normal_cdf(jnp.linspace(-6, 6, 61)),
    }
    double = Tolerance(max=5e-5)
    # In the tails the reference's float32 probabilities are 0, and its logarithms off by 10.
    single = {"discretized_gaussian_log_likelihood": Tolerance(max=0.7)}
    return [
        entry(a, (f"{k}/f64", double), (f"{k}/f32", single.get(k, double))) for k, a in ours.items()
    ]


def read_functions(goldens) -> Arrays:
    if not (goldens / "diffusion" / "losses.npz").exists():
        pytest.skip("no losses in this directory")
    arrays = read_npz(goldens / "diffusion", "losses")
    return {k: a for k, a in arrays.items() if "/" not in k or k.split("/")[0] in FUNCTIONS}


def test_losses_and_gradients_agree(goldens, losses_case):
    stored, own_error = read(goldens, losses_case)
    check(stored, entries(stored, own_error, losses_case), "losses")


def test_likelihoods_and_divergences_agree(goldens):
    stored = read_functions(goldens)
    check(stored, function_entries(stored), "losses")


def test_ten_tolerances_are_seen_in_every_array(tmp_path):
    case = "linear/none/RESCALED_MSE/LEARNED_RANGE/EPSILON"
    family = Family(
        "diffusion/losses",
        case,
        lambda *args: read(*args)[::-1],
        lambda own_error, stored, case: entries(stored, own_error, case),
        f"{case}/",
    )
    assert_seen(family, tmp_path)
