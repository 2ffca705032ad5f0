"""The parser of a call's options and of config files, without a model and without JAX's devices."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from glide_jax import InputError
from glide_jax.diffusion import schedules
from glide_jax.sampling import call, settings
from glide_jax.sampling.settings import Respacing, Steps

DDIM = {"sampler": "ddim"}
DEFAULTS = settings.StageSettings()


def each(name, values, says, **more):
    """Cases of one option; {} in `says` is the value as a message quotes it."""
    return [({**more, name: value}, says.format(repr(value))) for value in values]


WRONG = [
    *each("n", ("0", "-1", "1.5", "abc", "", "1000001", "nan", "1_0", True, 1.5), "n is {}"),
    *each("seed", ("-1", "4294967296", "x", "1e3", "0x10"), "seed is {}"),
    *each("first_index", ("-1", "2147483648", "one"), "first_index is {}"),
    *each("steps", ("0", "-1", "1001", "1.5", "", "10.0", 0, 2.5, True), "steps is {}"),
    *[({"steps": v}, v) for v in ("abc", "ddim600", "10,-5", "fast28", "500,a")],
    *each("steps", ("600,10",), "600 steps"),
    *each("steps", ("9" * 5000, "ddim" + "9" * 5000), "9999"),
    *[
        ({"steps": v}, says)
        for v, says in (
            (",".join(["20"] * 60), "20 steps in a section of 17 timesteps"),
            ("8," * 60 + "a few", "is not understood"),
            ("1," * 1000 + "1", "has 1001 sections"),
            ("9" * 200 + ",1", "steps in a section of 500"),
            ("ddim" + "0" * 120, "no whole stride"),
            ("0," * 60 + "0", "asks for no steps"),
        )
    ],
    *each(
        "guidance_scale", ("nan", "inf", "-inf", "abc", "101", "", "1e400"), "guidance_scale is {}"
    ),
    *each("record_prompt", ("", "no", 0, 1), "record_prompt is {}; it must be true or false"),
    *each("eta", ("nan", "-0.1", "1.1", "x", ""), "eta is {}", **DDIM),
    *each("sampler", ("DDPM", "dpm++", ""), "sampler is {}"),
    *each("upsample_steps", ("0", "1001", "-5"), "upsample_steps is {}"),
    *each("upsample_steps", ("abc",), "'abc'"),
    *each("temperature", ("nan", "-1", "11", "hot"), "temperature is {}"),
    *each("grid", ("Karras", "log-snr", "5"), "grid is {}", steps="5"),
    *each("grid", ("karras",), "steps is 'fast27'", steps="fast27"),
    *each("grid", ("karras",), "steps is '1001'", steps="1001"),
    *each("upsample_grid", ("x", "7"), "upsample_grid is {}"),
    *each("upsample_sampler", ("euler",), "upsample_sampler is {}"),
    *each("upsample_sampler", ("ddim",), "no upsampler runs", upsample=False),
    *each("upsample_steps", ("3",), "no upsampler runs", upsample=False),
    *each("temperature", ("1",), "no upsampler runs", upsample=False),
    *each("preset", ("", "best", "FAST"), "preset is {}"),
    *each("eta", ("0.5",), "eta is 0.5, but only the sampler ddim", sampler="unipc"),
    *each("negative_prompt", ("\ud800",), "surrogate"),
    *each("mix", ([""], ["a blue star"], ["0.5"], [3]), "such as 0.5:a blue star"),
    *each("mix", [[f"{v}:blue"] for v in ("x", "nan", "inf", "101", "")], "a weight in mix"),
    *each("mix", (["-1:blue"],), "must be positive"),
    *each("mix", (["0.5:\ud800"],), "surrogate"),
    *each("mix", ("0.5:blue", 7), "must be a list"),
    *each(
        "guidance_interval",
        ("", "5", "1,2,3", "-1,5", "5,1000", "a,b", "800,200", "nan,5", ",", 5, [1, 2, 3]),
        "guidance_interval is",
    ),
    *each("guidance_power", ("-1", "nan", "11", "x"), "guidance_power is {}"),
    *each("guidance_rescale", ("-0.1", "1.1", "nan", ""), "guidance_rescale is {}"),
    *each("dynamic_threshold", ("-1", "99.5", "nan"), "dynamic_threshold is {}"),
    *each("apg_parallel", ("-1", "2", "nan"), "apg_parallel is {}"),
    *each("apg_radius", ("-1", "inf", "x"), "apg_radius is {}"),
    *each("apg_momentum", ("-1.1", "2", "nan", "x"), "apg_momentum is {}"),
    *each("reuse", ("0", "1.5", "1001", "x"), "reuse is {}"),
    *each("upsample_reuse", ("0",), "upsample_reuse is {}"),
    *each("cfgpp_scale", ("1.5",), "cfgpp_scale is {}", **DDIM),
    *each("cfgpp_scale", ("0.5",), "only the sampler ddim", sampler="ddpm"),
    *each("cfgpp_scale", ("0.5",), "guidance_power is 1", guidance_power="1", **DDIM),
    *each("autoguidance_scale", ("x",), "autoguidance_scale is {}"),
    *each("clip_guidance_on", ("x0",), "clip_guidance_on is {}"),
    *each("clip_guidance_scale", ("nan", "-1", "1001", "x"), "clip_guidance_scale is {}"),
    *each("batch_size", ("0", "4097", "x"), "batch_size is {}"),
    *each("keep", ("0", "3", "x"), "keep is", n="2"),
    *each("score", ("red",), "must be a function"),
    *each("score_on", ("x",), "score_on is {}", score=len),
    *each("score_scale", ("much",), "score_scale is {}", score=len),
    *each("edit", (3,), "edit is 3"),
    *each("stepps", (3,), "did you mean 'steps'"),
]


@pytest.mark.parametrize(("options", "says"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_option_is_one_sentence(options, says):
    with pytest.raises(InputError) as caught:
        call.parse(options)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 500


def test_text_and_numbers_are_the_same_and_none_is_the_default():
    text = dict(n="3", seed="4294967295", steps="20", guidance_scale="2", guidance_interval="0,9")
    numbers = dict(n=3, seed=2**32 - 1, steps=20, guidance_scale=2.0, guidance_interval=(0, 9))
    assert call.parse(text) == call.parse(numbers)
    assert call.parse(dict.fromkeys(call.options())) == call.Call() == call.parse({})
    assert call.parse({"mix": ["0.5:a: b"]}).mix == (("a: b", 0.5),)


@pytest.mark.parametrize(
    ("value", "parsed"),
    [("27", Steps(27)), (1000, Steps(1000)), (" 5 ", Steps(5)), ("fast27", Respacing("fast27")),
     (20.0, Steps(20)), (np.float32(20), Steps(20)), (np.int64(20), Steps(20)),
     (",".join(["8"] * 60), Respacing(",".join(["8"] * 60))),
     ("ddim50", Respacing("ddim50")), ("10,10,3,2,2", Respacing("10,10,3,2,2"))],
)  # fmt: skip
def test_steps_are_a_number_or_a_respacing(value, parsed):
    assert settings.parse_steps("steps", value) == parsed
    assert settings.parse_steps("steps", parsed) == parsed
    assert str(parsed) == str(value).strip().removesuffix(".0")


def test_a_respacing_of_any_length_is_the_steps_of_its_sections():
    text = ",".join(["8"] * 60)  # 119 letters
    settings_of = lambda steps: call.parse({"steps": steps}).base["steps"]
    t = schedules.respace(str(settings_of(text)))
    sizes = [17] * 40 + [16] * 20  # 1000 timesteps in 60 sections
    starts = np.cumsum([0, *sizes[:-1]])
    expected = [
        int(start) + int(np.rint(k * (size - 1) / 7))
        for start, size in zip(starts, sizes, strict=True)
        for k in range(8)
    ]
    np.testing.assert_allclose(t, expected, atol=1)  # sums of halves round either way
    assert len(t) == 480


@pytest.mark.parametrize("steps", [20.0, np.float32(20), np.int64(20), "20", 20])
def test_a_number_of_any_type_keeps_a_presets_grid(steps):
    settings = call.stage_settings(call.parse(dict(preset="fast", steps=steps)), "base", DEFAULTS)
    assert (settings.grid, settings.steps, settings.sampler) == ("logsnr", Steps(20), "unipc")
    assert settings.record()["steps"] == "20"
    own = call.stage_settings(call.parse(dict(grid="karras", steps=steps)), "base", DEFAULTS)
    assert (own.grid, own.steps) == ("karras", Steps(20))


CLIP, WEAK = dict(clip_guidance_scale=2.0), dict(autoguidance_model="other")
EXTRAS = dict(
    guidance_power=1.0, guidance_rescale=0.7, apg_parallel=0.0, apg_radius=9.0, apg_momentum=-0.5
)


@pytest.mark.parametrize(("guide", "says"), [(CLIP, "the CLIP"), (WEAK, "a worse model")])
@pytest.mark.parametrize(("name", "value"), EXTRAS.items())
def test_extras_of_classifier_free_guidance_need_it(guide, says, name, value):
    with pytest.raises(InputError, match=f"{name} is .* guidance by {says} takes the place") as e:
        call.parse({**guide, name: value})
    assert "give guidance_scale, too, or leave it out" in str(e.value)
    for more in ({"guidance_scale": 3.0}, {"negative_prompt": "a cat"}):
        assert call.parse({**guide, **more, name: value}).base[name] == value
    plus = {"cfgpp_scale": 0.5, **DDIM}
    if name != "guidance_power":
        assert call.parse({**guide, **plus, name: value}).base[name] == value
    off = settings.option_of(settings.StageSettings.__dataclass_fields__[name]).off
    assert call.parse({**guide, name: off}).base[name] == off
    assert call.parse({name: value}).base[name] == value


def test_a_guide_without_a_say_does_not_take_the_place_of_the_empty_prompt():
    for nothing in (
        dict(clip_guidance_scale=0), dict(clip_guidance_scale="0.0"),
        dict(autoguidance_model="other", autoguidance_scale=1),
    ):  # fmt: skip
        parsed = call.parse({**nothing, "guidance_rescale": 0.7})
        assert not parsed.replaces_null
    assert call.parse(CLIP).replaces_null
    assert call.parse(WEAK).replaces_null
    assert call.parse({**WEAK, "clip_guidance_scale": 0}).replaces_null
    assert not call.parse({**CLIP, "guidance_scale": 2}).replaces_null


def test_a_call_goes_over_a_preset_and_a_preset_over_the_model():
    model = dataclasses.replace(DEFAULTS, steps=Respacing("fast27"), eta=0.5, sampler="ddim")
    of = lambda **options: call.stage_settings(call.parse(options), "base", model)
    assert of() == model
    assert (of(preset="fast").sampler, of(preset="fast").eta) == ("unipc", 0.5)
    assert of(preset="fast", steps=7).steps == Steps(7)
    assert of(preset="fast", steps="ddim50").grid == ""
    with pytest.raises(InputError, match="the model's steps are the respacing 'fast27'"):
        of(grid="karras")
    upsampler = call.parse({"upsample_grid": "karras", "preset": "reference"})
    with pytest.raises(InputError, match="upsample_steps is 'fast27'"):
        call.stage_settings(upsampler, "upsample", DEFAULTS)
    with pytest.raises(InputError, match="only the sampler ddim"):
        call.stage_settings(call.parse({"eta": 0.1}), "base", DEFAULTS)
    with pytest.raises(InputError, match="only the sampler ddim"):
        call.stage_settings(call.parse({"cfgpp_scale": 0.1}), "base", DEFAULTS)


def test_options_go_over_those_of_another_call():
    first = call.parse(dict(n=2, steps=5, upsample_steps=3))
    second = call.parse(dict(steps=7), first)
    assert (second.n, second.base, second.upsampler) == (
        2,
        {"steps": Steps(7)},
        {"steps": Steps(3)},
    )


def test_settings_that_are_off_are_not_traced():
    assert set(DEFAULTS.traced()) == {"guidance_scale", "eta"}
    on = dataclasses.replace(DEFAULTS, apg_momentum=-0.5, guidance_interval=(0.0, 9.0))
    assert on.traced() == DEFAULTS.traced() | dict(apg_momentum=-0.5, guidance_interval=(0.0, 9.0))


def test_settings_and_their_record_are_the_same():
    assert "apg_momentum" not in DEFAULTS.record()  # files of earlier versions lack it
    for value in (DEFAULTS, dataclasses.replace(DEFAULTS, apg_momentum=0.1, eta=0.5)):
        assert settings.from_config(value.record(), "here") == value


@pytest.mark.parametrize(
    ("values", "says"),
    [({"steps": 50}, "here: steps is 50; it must be like '100'"), ({"eta": "0"}, "eta is '0'"),
     ({"steps": "2000"}, "steps is '2000'"), ({"sampler": "euler"}, "sampler is 'euler'"),
     ({"guidance_scale": float("nan")}, "guidance_scale is nan"), ({"etta": 1}, "did you mean")],
)  # fmt: skip
def test_a_config_file_has_the_fields_own_types(values, says):
    with pytest.raises(InputError, match=says):
        settings.from_config(values, "here")


def test_parsing_needs_no_jax_until_a_sampler_is_named():
    code = "import sys; from glide_jax.sampling import call; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
