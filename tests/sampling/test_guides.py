"""Samplers, grids and everything that guides, through the pipeline with a model of a second."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax import InputError
from glide_jax.sampling import request, running, settings
from tests.sampling.test_glide import BLUE, RED, pixels, programs

BASE = dict(steps=3, upsample=False, seed=1)
EXTRAS = dict(
    sampler="ddim",
    guidance_interval=(0, 900),
    guidance_power=1.0,
    guidance_rescale=0.5,
    apg_parallel=0.2,
    apg_radius=1.0,
)


def differ(a, b) -> int:
    return int(np.abs(pixels(a).astype(int) - pixels(b)).max())


@pytest.mark.parametrize(
    "sampler",
    [
        "unipc",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("ddim", "plms", "heun", "dpmpp_2m", "dpmpp_2m_sde")
        ),
    ],
)
def test_samplers_draw_and_grids_steps_and_chunks_compile_nothing(sampler, glide, monkeypatch):
    draw = lambda **options: glide(RED, sampler=sampler, **(BASE | options))
    whole = draw(grid="karras", steps=4)
    assert whole[0].parameters["base"]["sampler"] == sampler
    assert whole[0].parameters["base"]["grid"] == "karras"
    before = programs()
    assert differ(whole, draw(grid="logsnr", steps=4)) > 0
    draw(grid="uniform", steps=2)
    draw(steps="fast27")
    # A multistep method's memory passes from piece to piece.
    monkeypatch.setattr(running, "_SECONDS_BETWEEN_REPORTS", 0.0)
    cut = draw(grid="karras", steps=4, progress=lambda *_: None)
    np.testing.assert_array_equal(pixels(cut), pixels(whole))
    assert programs() == before


@pytest.mark.slow
def test_the_upsampler_has_a_sampler_and_a_grid_of_its_own(glide):
    options = dict(steps=2, upsample_sampler="ddim", upsample_grid="logsnr", upsample_steps=3)
    [picture] = glide(RED, **options)
    p = picture.parameters
    assert (p["upsample"]["grid"], p["upsample"]["steps"]) == ("logsnr", "3")
    assert (p["base"]["grid"], p["base"]["sampler"]) == ("", "ddpm")
    assert differ([picture], glide(RED, **(options | dict(upsample_grid="uniform")))) > 0


def test_presets_choose_for_each_stage_and_give_way_to_what_is_said(glide):
    for preset, stages in settings.PRESETS.items():
        [p] = glide.parameters(RED, preset=preset)
        for stage, values in stages.items():
            assert {name: p[stage][name] for name in values} == {
                name: list(value) if isinstance(value, tuple) else str(value)
                for name, value in values.items()
            }
    assert set(settings.PRESETS) == {"fastest", "fast", "balanced", "reference"}
    assert settings.PRESETS["fast"]["base"]["steps"].count <= 25
    [p] = glide.parameters(RED, preset="fast", steps=7, upsample_sampler="ddpm")
    assert (p["base"]["steps"], p["upsample"]["sampler"]) == ("7", "ddpm")
    [p] = glide.parameters(RED, preset="fast", steps="fast27")
    assert p["base"]["grid"] == ""


def test_values_of_the_extras_compile_nothing_and_are_told(glide):
    plain = glide(RED, sampler="ddim", **BASE)
    all_of_them = glide(RED, **EXTRAS, **BASE)
    assert differ(plain, all_of_them) > 0
    told = all_of_them[0].parameters["base"]
    assert told["guidance_interval"] == [0.0, 900.0]
    assert told["apg_radius"] == 1.0
    before = programs()
    for other in (
        dict(guidance_interval="0,400"), dict(guidance_power=2.0), dict(guidance_rescale=0.9),
        dict(apg_parallel=0.9), dict(apg_radius=0.1), dict(guidance_scale=8.0),
    ):  # fmt: skip
        assert differ(all_of_them, glide(RED, **(EXTRAS | other), **BASE)) > 0, other
    glide(RED, **EXTRAS, **(BASE | dict(seed=9, steps=5)))
    assert programs() == before


def test_values_that_mean_off_leave_the_picture_and_the_program_alone(glide):
    plain, before = glide(RED, **BASE), programs()
    off = dict(
        guidance_interval=(), guidance_power=0, guidance_rescale=0, dynamic_threshold=0,
        apg_parallel=1, apg_radius=0, apg_momentum=0, cfgpp_scale=0,
    )  # fmt: skip
    np.testing.assert_array_equal(pixels(plain), pixels(glide(RED, **off, **BASE)))
    assert programs() == before


@pytest.mark.slow
def test_reuse_draws_the_same_in_any_company_and_in_pieces(glide, monkeypatch):
    options = dict(BASE, sampler="dpmpp_2m", steps=4, guidance_interval=(0, 900), reuse=2)
    whole = glide(RED, n=2, batch_size=2, **options)
    assert whole[0].parameters["base"]["reuse"] == 2
    assert differ(whole, glide(RED, n=2, batch_size=2, **(options | dict(reuse=1)))) > 0
    before = programs()
    assert differ(whole[:1], glide([BLUE, RED], batch_size=2, **options)[1:]) == 0
    assert differ(whole, glide(RED, n=2, batch_size=2, **(options | dict(reuse=4)))) > 0
    monkeypatch.setattr(running, "_SECONDS_BETWEEN_REPORTS", 0.0)
    assert differ(whole, glide(RED, n=2, batch_size=2, progress=lambda *_: None, **options)) == 0
    assert programs() == before


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["heun", "unipc", "ddpm", "plms"])
def test_every_sampler_reuses_features_with_a_mix_and_an_upsampler(sampler, glide):
    options = dict(steps=4, seed=1, sampler=sampler, mix=["0.5:a blue star"], upsample_steps=4)
    options |= dict(reuse=2, upsample_reuse=3)
    [mixed] = glide(RED, **options)
    assert differ([mixed], glide(RED, **(options | dict(reuse=1)))) > 0
    assert differ([mixed], glide(RED, **(options | dict(upsample_reuse=1)))) > 0
    assert differ([mixed], [glide.repeat(mixed.parameters)]) == 0


@pytest.mark.slow
def test_momentum_draws_the_same_in_any_company_and_in_pieces(glide, monkeypatch):
    options = dict(sampler="ddim", apg_momentum=-0.5, guidance_interval=(0, 900), **BASE)
    whole = glide(RED, n=2, batch_size=2, **options)
    assert differ(whole, glide(RED, n=2, batch_size=2, **(options | dict(apg_momentum=0)))) > 0
    assert whole[0].parameters["base"]["apg_momentum"] == -0.5
    before = programs()
    among = glide([BLUE, RED], batch_size=2, **(options | dict(apg_momentum=-0.5)))[1:]
    assert differ(whole[:1], among) == 0
    assert differ(whole, glide(RED, n=2, batch_size=2, **(options | dict(apg_momentum=0.4)))) > 0
    monkeypatch.setattr(running, "_SECONDS_BETWEEN_REPORTS", 0.0)
    cut = glide(RED, n=2, batch_size=2, progress=lambda *_: None, **options)
    assert differ(whole, cut) == 0
    assert programs() == before


@pytest.mark.slow
def test_an_interval_of_all_timesteps_is_no_interval(glide):
    plain = glide(RED, sampler="ddim", **BASE)
    assert differ(plain, glide(RED, sampler="ddim", guidance_interval=(0, 999), **BASE)) <= 1
    unguided = glide(RED, sampler="ddim", guidance_scale=1.0, **BASE)
    never = glide(RED, sampler="ddim", guidance_interval=(0.5, 0.6), **BASE)
    assert differ(unguided, never) <= 1


def test_a_negative_prompt_takes_the_place_of_the_empty_one(glide):
    plain = glide(RED, **BASE)
    away = glide(RED, negative_prompt=BLUE, **BASE)
    assert differ(plain, away) > 0
    assert away[0].parameters["negative_prompt"] == BLUE
    np.testing.assert_array_equal(pixels(plain), pixels(glide(RED, negative_prompt="", **BASE)))
    # Away from the prompt itself there is nowhere to go, at any scale.
    nowhere = glide(RED, negative_prompt=RED, guidance_scale=5.0, **BASE)
    assert differ(glide(RED, guidance_scale=1.0, **BASE), nowhere) <= 1


def test_mixing_prompts(glide):
    plain, options = glide(RED, **BASE), BASE
    assert differ(plain, glide(RED, mix=[(BLUE, 0.0)], **options)) <= 1
    assert differ(plain, glide(RED, mix=[(RED, 3.0)], **options)) <= 1
    mixed = glide(RED, mix=[(BLUE, 1.0)], **options)
    assert differ(plain, mixed) > 0
    assert differ(mixed, glide(BLUE, mix=[f"1:{RED}"], **options)) <= 1
    assert mixed[0].parameters["mix"] == [[BLUE, 1.0]]
    before = programs()
    glide(BLUE, mix=[(RED, -0.4)], **options)
    assert programs() == before


@pytest.mark.slow
def test_autoguidance_by_the_model_itself_does_nothing_and_by_a_worse_one_something(
    glide, tiny_model, tiny_full
):
    unguided = glide(RED, guidance_scale=1.0, **BASE)
    itself = glide(RED, autoguidance_model=str(tiny_model), autoguidance_scale=5.0, **BASE)
    assert differ(unguided, itself) <= 1
    assert itself[0].parameters["autoguidance_model"] == str(tiny_model)
    other = glide(RED, autoguidance_model=tiny_full, autoguidance_scale=3.0, **BASE)
    assert differ(unguided, other) > 1
    before = programs()
    glide(BLUE, autoguidance_model=tiny_full, autoguidance_scale=2.0, **BASE)
    assert programs() == before


@pytest.mark.slow
@pytest.mark.parametrize("mix", [[(BLUE, 1.0)], [(BLUE, 0.5), ("a green star", -0.3)]])
def test_autoguidance_of_a_mix_by_the_model_itself_does_nothing(glide, tiny_model, mix):
    options = dict(mix=mix, sampler="ddim", **BASE)
    unguided = glide(RED, guidance_scale=1.0, **options)
    for scale in (2.0, 5.0):
        itself = dict(autoguidance_model=str(tiny_model), autoguidance_scale=scale)
        assert differ(unguided, glide(RED, **itself, **options)) <= 1
    [p] = glide.parameters(RED, autoguidance_model=str(tiny_model), **options)
    assert p["base"]["guidance_scale"] == 1.0


@pytest.mark.slow
def test_autoguidance_at_scale_1_is_the_call_without_it(glide, tiny_full):
    nothing = dict(autoguidance_model=tiny_full, autoguidance_scale=1.0)
    np.testing.assert_array_equal(pixels(glide(RED, **BASE)), pixels(glide(RED, **nothing, **BASE)))


@pytest.mark.slow
def test_the_clip_follows_the_whole_mix(glide_full):
    options = dict(clip_guidance_scale=300.0, sampler="ddim", **BASE)
    plain, mixed = glide_full(RED, **options), glide_full(RED, mix=[(BLUE, 1.0)], **options)
    assert differ(plain, glide_full(RED, mix=[(RED, 3.0)], **options)) <= 1
    assert differ(mixed, glide_full(BLUE, mix=[(RED, 1.0)], **options)) <= 1
    assert differ(mixed, glide_full(RED, mix=[(BLUE, 1.0)], **(options | dict(guidance_scale=1.0,
                                    clip_guidance_scale=0.0)))) > 1  # fmt: skip
    before = programs()
    glide_full(RED, mix=[(BLUE, -0.4)], **options)
    assert programs() == before


@pytest.mark.slow
def test_an_interval_limits_the_clip(glide_full):
    options = dict(clip_guidance_scale=500.0, sampler="ddim", **BASE)
    unguided = glide_full(RED, guidance_scale=1.0, **(options | dict(clip_guidance_scale=0.0)))
    for on in ("x_t", "x_0"):
        never = glide_full(RED, guidance_interval=(0.5, 0.6), clip_guidance_on=on, **options)
        assert differ(unguided, never) <= 1
        some = glide_full(RED, guidance_interval=(0, 600), clip_guidance_on=on, **options)
        assert differ(unguided, some) > 1


@pytest.mark.usefixtures("unwrapped")
def test_autoguidance_by_a_model_of_another_size_is_refused(glide):
    loaded = glide.loaded
    larger = {"base": loaded.stages["base"]._replace(image_size=64)}
    with pytest.raises(InputError, match="64 pixels"):
        request.check_weak(dataclasses.replace(loaded, stages=larger), loaded)
    noisier = {
        "base": loaded.stages["base"]._replace(alpha_bar=loaded.stages["base"].alpha_bar ** 2)
    }
    with pytest.raises(InputError, match="noise schedule"):
        request.check_weak(dataclasses.replace(loaded, stages=noisier), loaded)


def test_cfg_plus_plus_and_a_dynamic_threshold_draw_and_their_values_are_traced(glide):
    options = dict(sampler="ddim", dynamic_threshold=0.9, **BASE)
    plus = glide(RED, cfgpp_scale=0.6, **options)
    assert differ(plus, glide(RED, **options)) > 0
    before = programs()
    assert differ(plus, glide(RED, cfgpp_scale=0.3, **options)) > 0
    assert differ(plus, glide(RED, cfgpp_scale=0.6, **(options | dict(dynamic_threshold=0.5)))) > 0
    assert programs() == before


def redness(x_0):
    """A score of one's own: more red than the rest."""
    return (x_0[..., 0] - x_0[..., 1:].mean(-1)).mean((1, 2))


def noisy_redness(x_t, t):
    return redness(x_t)


@pytest.mark.parametrize(
    ("score", "on"), [(redness, "x_0"), pytest.param(noisy_redness, "x_t", marks=pytest.mark.slow)]
)
def test_a_score_of_ones_own_is_raised(glide, score, on):
    red = lambda pictures: float(redness(jnp.float32(pixels(pictures))).mean())
    options = dict(sampler="ddim", score=score, score_on=on, **BASE)
    none, some = (glide(RED, score_scale=scale, **options) for scale in (0.0, 300.0))
    assert red(some) > red(none) + 1.0
    assert differ(none, glide(RED, sampler="ddim", **BASE)) <= 1
    before = programs()
    glide(RED, score_scale=-5.0, **options)
    assert programs() == before
    assert some[0].parameters["score"].endswith(score.__name__)


@pytest.mark.slow
def test_clip_guidance_on_predicted_x_0(glide_full):
    options = dict(guidance_scale=1.0, sampler="ddim", clip_guidance_on="x_0", **BASE)
    none, some = (glide_full(RED, clip_guidance_scale=s, **options) for s in (0.0, 500.0))
    assert differ(none, some) > 0
    noised = glide_full(RED, clip_guidance_scale=500.0, **(options | dict(clip_guidance_on="x_t")))
    assert differ(noised, some) > 0
    assert some[0].parameters["clip_guidance_on"] == "x_0"
