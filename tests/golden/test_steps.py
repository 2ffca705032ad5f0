"""Every kind of diffusion step on fixed arrays: what a network would say is given, not computed."""

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax.diffusion import constraints, samplers, schedules
from glide_jax.types import Prediction
from tests.golden.compare import EXACT, Entry, Tolerance, check, entry
from tests.golden.files import Arrays, read_npz
from tests.golden.perturbing import Family, assert_seen
from tests.golden.weights import nchw, nhwc

STEP = Tolerance(max=1e-5, per="item")
# The reference's own float32 error: 1 - alpha_bar in float32 loses so much near t = 0.
DDIM_FLOAT32 = Tolerance(max=1e-3, per="item")


def read(goldens, case) -> Arrays:
    """The inputs that all cases share, and what starts with `case`."""
    arrays, start = read_npz(goldens / "diffusion", "steps"), f"{case}/"
    shared = {k: a for k, a in arrays.items() if k.startswith("in_")}
    return shared | {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}


def schedule_of(case: str) -> schedules.Schedule:
    name, respacing = case.split("/")[:2]
    t = schedules.respace("" if respacing == "none" else respacing)
    return schedules.from_alpha_bar(schedules.alpha_bar(name), t)


def x0_fn_of(case: str):
    """From clip<0 or 1>_dfn<0 or 1>: the reference's `denoised_fn` comes before its clipping."""
    options, functions = case.split("/")[2], []
    if "dfn1" in options:
        functions.append(lambda x_0: 0.5 * x_0 + 0.1)
    if "clip1" in options:
        functions.append(constraints.clip)
    return constraints.compose(*functions)


def take(make_step, schedule, inputs: dict, i: jax.Array, *, guided: bool = False, **options):
    """A step of each image at its own i, and the timesteps that the network was asked about."""

    def step(x_t, out, grad, noise, i):
        asked = []
        denoise = lambda _, t: asked.append(t) or out
        score = dict(score=lambda *_: grad) if guided else {}
        x = make_step(denoise, schedule, **options, **score)(x_t, i, noise)
        return x[0], asked[0][0]

    # vmap takes the batch away, a step wants one: of one image
    inputs = jax.tree.map(lambda a: a[:, None], inputs)
    return jax.vmap(step)(*(inputs[k] for k in ("x_t", "out", "grad", "noise")), i)


def sampled(case: str, inputs: dict, i: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    """x_{t-1} by each sampler, by the reference's name."""
    schedule, x0_fn = schedule_of(case), x0_fn_of(case)
    kinds = {"p_sample": (samplers.ddpm, {}), "p_sample_cond": (samplers.ddpm, {"guided": True})}
    for eta in (0.0, 0.5, 1.0):
        kinds[f"ddim_eta{eta}"] = (samplers.ddim, {"eta": eta})
        kinds[f"ddim_cond_eta{eta}"] = (samplers.ddim, {"eta": eta, "guided": True})
    kinds["ddim_reverse"] = (samplers.ddim_reverse, {})
    found = {}
    for name, (make_step, options) in kinds.items():
        found[name], asked = take(make_step, schedule, inputs, i, x0_fn=x0_fn, **options)
    return found, asked


def distributions(case: str, inputs: dict, i: jax.Array) -> dict[str, jax.Array]:
    """The reverse and forward Gaussians, by the reference's name."""
    s, x_t, x_0 = schedule_of(case).at(i), inputs["x_t"], inputs["x_start"]
    p = samplers.p_mean_variance(s, x_t, inputs["out"], x0_fn_of(case))
    eps = samplers.predict_eps(s, x_t, p.x_0)
    guided = samplers.predict_x_0(s, x_t, eps - s.sqrt_one_minus_alpha_bar * inputs["grad"])
    whole = lambda a: jnp.broadcast_to(a, x_t.shape)
    return {
        "pmv_mean": p.mean,
        "pmv_variance": jnp.exp(p.log_var),
        "pmv_log_variance": p.log_var,
        "pmv_pred_xstart": p.x_0,
        "cond_mean": p.mean + jnp.exp(p.log_var) * inputs["grad"],
        "cond_score_pred_xstart": guided,
        "cond_score_mean": samplers.q_posterior_mean(s, guided, x_t),
        "q_sample": samplers.q_sample(s, x_0, inputs["noise"]),
        "q_mean": s.sqrt_alpha_bar * x_0,
        "q_posterior_mean": samplers.q_posterior_mean(s, x_0, x_t),
        "q_posterior_variance": whole(s.var),
        "q_posterior_log_variance": whole(s.log_var_min),
        "eps_from_xstart": samplers.predict_eps(s, x_t, x_0),
        "xstart_from_eps": samplers.predict_x_0(s, x_t, inputs["out"].eps),
    }


def forward_variance(case: str, i: np.ndarray, shape) -> dict[str, np.ndarray]:
    """Of q(x_t | x_0), from the float64 tables: no sampler needs it, so no float32 one exists."""
    name, respacing = case.split("/")[:2]
    t = schedules.respace("" if respacing == "none" else respacing)
    variance = 1.0 - schedules.tables(schedules.alpha_bar(name)[t])["alpha_bar"][i]
    whole = lambda a: np.broadcast_to(a[:, None, None, None], shape)
    return {"q_variance": whole(variance), "q_log_variance": whole(np.log(variance))}


def entries(stored: Arrays, case: str) -> list[Entry]:
    inputs = {k: nhwc(stored[f"in_{k}"]) for k in ("x_t", "x_start", "noise", "grad")}
    eps, v = jnp.split(nhwc(stored["in_model_output"]), 2, axis=-1)
    inputs["out"] = Prediction(eps, (v + 1.0) / 2.0)
    i = jnp.asarray(stored["in_t"])
    images, asked = sampled(case, inputs, i)
    ours = {k: nchw(a) for k, a in (images | distributions(case, inputs, i)).items()}
    ours |= forward_variance(case, stored["in_t"], stored["in_x_t"].shape)
    held = {key.rpartition("/")[0] for key in stored if not key.startswith("in_")}
    found = [
        entry(a, (f"{k}/f64", STEP), (f"{k}/f32", DDIM_FLOAT32 if k.startswith("ddim") else STEP))
        for k, a in ours.items()
        if k in held
    ]
    if "model_saw_t" in held:
        found.append(entry(asked, ("model_saw_t/f64", EXACT)))
    return found


def test_steps_agree(goldens, steps_case):
    stored = read(goldens, steps_case)
    check(stored, entries(stored, steps_case), "steps")


def test_ten_tolerances_are_seen_in_every_array(tmp_path):
    case = "linear/fast27/clip1_dfn0"
    family = Family("diffusion/steps", case, lambda *args: (read(*args),), entries, f"{case}/")
    assert_seen(family, tmp_path)
