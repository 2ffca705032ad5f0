"""A distilled model: drawn without new options, and wishes that it cannot have."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from glide_jax.errors import InputError
from glide_jax.model_dir import reading, writing
from glide_jax.model_dir.schema import StageConfig
from glide_jax.networks.model_config import ModelConfig
from glide_jax.sampling import edits, loading, request
from glide_jax.sampling.call import parse
from glide_jax.sampling.glide import load
from tests import tiny

RED = "a red circle"
CHAIN = dict(sampler="ddim", grid="trailing")


def save(folder, *, away=False, steps=(2, 1)):
    """A model whose base has guidance as an input; both stages are distilled to so many steps."""
    model, scales = tiny.model("few"), (1.0, 6.0)
    base, upsample = (model.stages[name][0] for name in ("base", "upsample"))
    network = dataclasses.replace(base.model, guidance=scales, away=away)
    stages = {}
    for name, part, shape, n in (
        ("base", base, network, steps[0]), ("upsample", upsample, upsample.model, steps[1])
    ):  # fmt: skip
        sampling = dict(part.sampling) | (CHAIN | {"steps": str(n)} if n else {})
        new = StageConfig(shape, part.noise_schedule, "v", sampling, distilled=n)
        stages[name] = (new, tiny.weights(shape))
    writing.write_model(folder, dataclasses.replace(model, stages=stages), card="# few\n")
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "few")


@pytest.fixture(scope="module")
def loaded(few):
    return loading.load(few)


def plan(loaded, **options):
    return request.plan(loaded, RED, parse(options), lambda name: loaded, lambda: 1)


def test_a_distilled_model_is_drawn_as_its_config_says_with_one_evaluation_a_step(loaded):
    found = plan(loaded)
    assert {n: (str(s.steps), s.sampler, s.grid) for n, s in found.stages.items()} == {
        "base": ("2", "ddim", "trailing"), "upsample": ("1", "ddim", "trailing")
    }  # fmt: skip
    assert not found.unconditional
    assert plan(loaded, steps=2, sampler="ddim", guidance_scale=1.5).stages["base"].eta == 0.0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(steps=50), "50 steps of ddim on the grid trailing are asked for, but the base of "
                         "'few' is distilled to 2 steps of ddim on the grid trailing; leave steps"),
        (dict(preset="fast"), "20 steps of unipc on the grid logsnr are asked for by the preset "
                              "fast, but the base"),
        (dict(sampler="dpmpp_2m"), "2 steps of dpmpp_2m"),
        (dict(grid="uniform"), "on the grid uniform are asked for"),
        (dict(upsample_steps="fast27"), "fast27 steps of ddim are asked for, but the upsample of"),
        (dict(guidance_scale=7), "guidance_scale is 7, but the base of 'few' has guidance "
                                 "distilled into it for scales from 1 to 6; give one of those"),
        (dict(guidance_scale=0), "guidance_scale is 0"),
        (dict(guidance_rescale=0.7), "guidance_rescale is set, but the base of 'few'"),
        (dict(guidance_power=1), "guidance_power is set"),
        (dict(apg_radius=5), "apg_radius is set"),
        (dict(cfgpp_scale=0.5), "cfgpp_scale is set"),
        (dict(guidance_interval="200,800"), "guidance_interval is set"),
        (dict(negative_prompt="a cat"), "negative_prompt is set"),
    ],
)  # fmt: skip
def test_a_wrong_wish_is_one_sentence(loaded, options, says):
    with pytest.raises(InputError) as caught:
        plan(loaded, **options)
    assert says in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_a_negative_prompt_is_taken_by_a_base_that_learnt_it(loaded):
    stages = loaded.stages | {"base": loaded.stages["base"]._replace(away=True)}
    found = plan(dataclasses.replace(loaded, stages=stages), negative_prompt="a cat")
    assert not found.unconditional


def test_a_picture_to_start_from_needs_a_step_of_the_base_and_none_of_the_upsampler(loaded):
    image = Image.new("RGB", (32, 32), "red")
    edit = edits.redrawing(loaded, image, None, strength=0.4, upsample=True)
    with pytest.raises(
        InputError, match=r"strength is 0\.4, but .* 2 steps, each of which is 0\.5"
    ):
        plan(loaded, edit=edit)
    edit = edits.redrawing(loaded, image, None, strength=0.5, upsample=True)
    assert str(plan(loaded, edit=edit).stages["base"].steps) == "2"


def test_config_files_of_other_models_are_what_they_were(few, tiny_model):
    plain = json.loads((tiny_model / "config.json").read_text())
    assert {"guidance", "distilled"}.isdisjoint(
        plain["base"]["model"].keys() | plain["base"].keys()
    )
    config = json.loads((few / "config.json").read_text())
    assert config["base"]["model"]["guidance"] == [1.0, 6.0]
    assert (config["base"]["distilled"], config["upsample"]["distilled"]) == (2, 1)
    assert "guidance" not in config["upsample"]["model"]
    assert reading.read_model(few).stages["base"][0].distilled == 2


@pytest.mark.parametrize(
    "scales", [(1.0,), (1.0, 2.0, 3.0), (2.0, 6.0), (1.0, 1.0), (-1.0, 6.0), (1.0, 1e9), (1.0, "6")]
)
def test_a_range_of_guidance_that_is_none_is_refused(scales):
    with pytest.raises(InputError, match=r"guidance is .*; it must be the least scale"):
        ModelConfig(guidance=scales)


@pytest.mark.slow
def test_prompts_to_keep_away_from_matter_and_the_empty_one_is_none(tmp_path, cache):
    glide = load(save(tmp_path / "away", away=True), cache=cache)
    pixels = lambda **options: glide(RED, upsample=False, **options)[0].array
    first = pixels()
    assert np.abs(first.astype(int) - pixels(negative_prompt="")).max() <= 1  # another program
    assert np.mean(first != pixels(negative_prompt="two blue stars")) > 0.1


@pytest.mark.slow
def test_every_way_of_drawing_works_and_the_scale_matters(few, cache):
    glide = load(few, cache=cache)
    pixels = lambda pictures: pictures[0].array
    first = pixels(glide(RED))
    np.testing.assert_array_equal(first, pixels(glide(RED)))
    assert np.mean(first != pixels(glide(RED, guidance_scale=1.0))) > 0.1
    assert np.mean(first != pixels(glide(RED, eta=1.0))) > 0.1
    image, mask = Image.new("RGB", (32, 32), "red"), Image.new("L", (32, 32), 255)
    mask.paste(0, (0, 0, 16, 32))
    painted = pixels(glide.inpaint(image, mask, RED))
    np.testing.assert_array_equal(painted[:, :16], np.asarray(image)[:, :16])
    assert np.mean(pixels(glide.edit(image, RED, strength=0.5)) != np.asarray(image)) > 0.5
    assert pixels(glide.upscale(image.resize((16, 16)), RED)).shape == (32, 32, 3)
    assert len(glide.interpolate(RED, "two blue stars", frames=2)) == 2
    again = glide.repeat(glide(RED, seed=3)[0].parameters)
    np.testing.assert_array_equal(again.array, pixels(glide(RED, seed=3)))
