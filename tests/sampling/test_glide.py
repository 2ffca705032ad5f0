"""What holds of pictures: seeds, batches, inpainting, CLIP, and what compiles."""

import dataclasses
import json
import os
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest
from PIL import Image

from glide_jax import InputError, images, watermark
from glide_jax.sampling import cascade, running
from glide_jax.sampling.glide import Glide, load
from glide_jax.sampling.picture import Picture
from glide_jax.tokenizers import PromptTruncated

RED, BLUE = "a red circle", "two blue stars"
FEW = dict(steps=2, upsample_steps=2)


def pixels(pictures) -> np.ndarray:
    return np.stack([picture.array for picture in pictures])


def programs() -> int:
    """How many programs the cascade has compiled in this process."""
    return sum(program._cache_size() for program in cascade.programs())


def test_a_picture_has_the_last_stages_size_and_all_its_parameters(glide):
    [picture] = glide(RED, seed=5, **FEW)
    assert picture.image.size == (32, 32)
    assert picture.small.size == (16, 16)
    p = picture.parameters
    assert json.loads(json.dumps(p)) == p
    assert (p["prompt"], p["seed"], p["index"], p["model"]) == (RED, 5, 0, "plain")
    assert p["base"]["steps"] == "2"
    assert p["upsample"]["sampler"] == "ddim"


def test_the_same_call_gives_the_same_pixels_and_another_seed_others(glide):
    first, again = (pixels(glide(RED, seed=1, **FEW)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = pixels(glide(RED, seed=2, **FEW))
    assert np.mean(first != other) > 0.5
    assert np.mean(first != pixels(glide(BLUE, seed=1, **FEW))) > 0.1


def test_a_picture_is_the_same_in_any_batch_and_company(glide):
    # One program for each batch size: their sums may round differently, so one level of 255.
    alone = pixels(glide(RED, seed=1, first_index=2, **FEW))[0].astype(int)
    among_three = glide(RED, seed=1, n=3, batch_size=3, **FEW)[2]
    among_prompts = glide([BLUE, RED, BLUE], seed=1, first_index=2, batch_size=2, **FEW)[1]
    for picture in (among_three, among_prompts):
        assert np.abs(picture.array - alone).max() <= 1


def test_in_batches_of_one_size_company_changes_no_pixel(glide):
    options = dict(seed=1, batch_size=3, n=3, **FEW)
    three = glide(RED, **options)
    np.testing.assert_array_equal(pixels(glide([BLUE, RED], **options)[3:]), pixels(three))
    shifted = glide(RED, **(options | dict(first_index=1)))
    np.testing.assert_array_equal(pixels(shifted[:2]), pixels(three[1:]))
    # The last batch is padded, and so of the same size.
    np.testing.assert_array_equal(pixels(glide(RED, **(options | dict(n=4)))[:3]), pixels(three))


def test_pictures_come_in_the_order_of_prompts_then_indices(glide):
    pictures = glide([RED, BLUE], n=2, batch_size=3, first_index=7, **FEW)
    rows = [(p.parameters["prompt"], p.parameters["index"]) for p in pictures]
    assert rows == [(RED, 7), (RED, 8), (BLUE, 7), (BLUE, 8)]
    assert [p.parameters for p in pictures] == glide.parameters(
        [RED, BLUE], n=2, batch_size=3, first_index=7, **FEW
    )


def test_values_compile_nothing(glide_full):
    draw = lambda **options: glide_full(RED, **(FEW | dict(sampler="ddim") | options))
    guided = dict(clip_guidance_scale=2.0, guidance_scale=2.0)
    draw()
    draw(**guided)
    before = programs()
    with jax.log_compiles(False):
        for options in (
            dict(guidance_scale=1.5), dict(guidance_scale=-2.0), dict(seed=2**32 - 1),
            dict(steps=3), dict(steps="fast27"), dict(upsample_steps="5,3"), dict(eta=0.3),
            dict(temperature=0.5), dict(first_index=9), guided | dict(clip_guidance_scale=0.5),
        ):  # fmt: skip
            draw(**options)
        glide_full(BLUE, **FEW, sampler="ddim")
    assert programs() == before


def test_scales_and_the_sampler_matter(glide):
    plain = pixels(glide(RED, **FEW))
    for options in (
        dict(guidance_scale=6.0),
        dict(sampler="ddim"),
        dict(steps=3),
        dict(temperature=0.2),
    ):
        assert (pixels(glide(RED, **(FEW | options))) != plain).any(), options


def test_the_upsampler_can_be_left_out(glide):
    [picture] = glide(RED, steps=2, upsample=False)
    assert picture.image.size == (16, 16)
    [whole] = glide(RED, **FEW)
    np.testing.assert_array_equal(picture.array, np.asarray(whole.small))


def test_progress_counts_up_to_all_steps_of_all_batches(glide):
    calls = []
    glide(RED, n=3, batch_size=2, steps=4, upsample_steps=3, progress=lambda *a: calls.append(a))
    for stage, total in (("base", 8), ("upsample", 6)):
        done = [call[1] for call in calls if call[0] == stage]
        assert done == sorted(set(done))
        assert done[-1] == total
        assert {call[2] for call in calls if call[0] == stage} == {total}


def test_watching_and_cutting_the_chain_change_nothing(glide, monkeypatch):
    options = dict(steps=5, upsample_steps=4)
    whole = pixels(glide(RED, **options))
    watched = pixels(glide(RED, progress=lambda *_: None, **options))
    monkeypatch.setattr(running, "_SECONDS_BETWEEN_REPORTS", 0.0)
    singly = pixels(glide(RED, progress=lambda *_: None, **options))
    np.testing.assert_array_equal(whole, watched)
    np.testing.assert_array_equal(whole, singly)


def test_chains_cut_by_a_caller_and_looked_at_give_the_same_picture(glide):
    options = dict(steps=5, upsample_steps=4, sampler="ddim", upsample_sampler="ddim")
    whole = pixels(glide(RED, n=2, **options))
    drawn, stages = [], []
    for item in glide.begin(RED, n=2, **options):
        if isinstance(item, Picture):
            drawn.append(item)
            continue
        stages.append(item.stage)
        chain = item.chain
        while not chain.finished:
            seen = chain.look()
            chain.advance(1)
        # The last step of an ODE is the x_0 that it predicts.
        np.testing.assert_allclose(seen, chain.x_t, atol=2e-5)
        np.testing.assert_array_equal(chain.look(), chain.x_t)
    assert stages == ["base", "upsample"]
    np.testing.assert_array_equal(whole, pixels(drawn))


def test_chains_that_a_caller_advances_keep_to_the_usual_numbers(glide):
    [whole] = glide(RED, upsample=False, steps=3, sampler="ddim")
    with jax.enable_x64(True):
        for item in glide.begin(RED, upsample=False, steps=3, sampler="ddim"):
            if isinstance(item, Picture):
                np.testing.assert_array_equal(item.array, whole.array)
                continue
            item.chain.advance(1)
            assert item.chain.look().dtype == np.float32
            item.chain.advance(2)


def test_clip_guidance_runs_and_differs(glide_full):
    plain = pixels(glide_full(RED, guidance_scale=1.0, **FEW))
    none = pixels(glide_full(RED, clip_guidance_scale=0.0, guidance_scale=1.0, **FEW))
    without = glide_full(RED, clip_guidance_scale=0.0, **FEW)
    np.testing.assert_array_equal(pixels(without), pixels(glide_full(RED, **FEW)))
    assert without[0].parameters["base"]["guidance_scale"] != 1.0
    guided = pixels(glide_full(RED, clip_guidance_scale=500.0, **FEW))
    assert np.abs(none.astype(int) - plain).max() <= 1
    assert (guided != plain).any()
    assert (pixels(glide_full(BLUE, clip_guidance_scale=500.0, **FEW)) != guided).any()


@pytest.fixture
def half():
    """A picture, a mask that paints its left half, and the pixels that stay."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
    paint = np.zeros((32, 32), bool)
    paint[:, :16] = True
    return image, Image.fromarray(paint), ~paint


@pytest.mark.parametrize("model", ["glide", "glide_full"])
def test_inpainting_keeps_what_is_known_and_paints_the_rest(model, half, request):
    glide = request.getfixturevalue(model)
    image, mask, known = half
    [picture] = glide.inpaint(image, mask, RED, **FEW)
    np.testing.assert_array_equal(picture.array[known], np.asarray(image)[known])
    assert (picture.array[~known] != np.asarray(image)[~known]).mean() > 0.5
    assert picture.parameters["edit"]["kind"] == "inpaint"
    assert picture.parameters["upsample"]["sampler"] == "ddpm"
    # At the base's size known pixels are means of blocks.
    small = np.asarray(image, np.float64).reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(np.asarray(picture.small)[:, 8:] - small[:, 8:]).max() <= 0.51


def test_a_white_mask_paints_everything(glide_full):
    image, mask = Image.new("RGB", (8, 8), "red"), Image.new("L", (8, 8), 255)
    other = Image.new("RGB", (8, 8), "blue")
    drawn = [pixels(glide_full.inpaint(i, mask, RED, **FEW)) for i in (image, other)]
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize("prompts", [[], [3], [RED, None], "\ud800"])
@pytest.mark.usefixtures("unwrapped")
def test_prompts_of_a_call_are_checked(glide, prompts):
    with pytest.raises(InputError):
        glide(prompts)


def test_the_empty_prompt_draws_and_guidance_then_does_nothing(glide):
    drawn = [pixels(glide("", guidance_scale=w, **FEW)).astype(int) for w in (1.0, 5.0)]
    assert np.abs(drawn[0] - drawn[1]).max() <= 1


def test_a_prompt_that_is_cut_is_told_before_drawing(glide):
    drawing = glide.pictures("a red circle " * 20, progress=lambda *_: pytest.fail("drawn"), **FEW)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptTruncated)
        with pytest.raises(PromptTruncated, match="its end is not seen"):
            next(drawing)


def test_bfloat16_draws_nearly_the_same(glide, tiny_model, cache):
    half = load(tiny_model, dtype="bfloat16", cache=cache)
    a, b = (pixels(g(RED, sampler="ddim", **FEW)).astype(int) for g in (glide, half))
    assert 0 < np.abs(a - b).mean() < 8


def test_numbers_that_are_not_finite_are_not_drawn(glide):
    broken = dict(glide.loaded.params)
    broken["base"] = jax.tree.map(lambda a: a * np.float32(1e30), broken["base"])
    loaded = dataclasses.replace(glide.loaded, params=broken)
    with pytest.raises(InputError, match="not finite"):
        Glide(loaded)(RED, **FEW)


def test_png_and_parameters_go_together(glide, tmp_path):
    [picture] = glide("crème brûlée \u2028 \U0001f600", **FEW)
    images.write_png(tmp_path / "a.png", picture.image, picture.parameters)
    assert images.read_parameters(tmp_path / "a.png") == picture.parameters
    # A notebook shows the same file.
    assert picture._repr_png_() == (tmp_path / "a.png").read_bytes()
    picture.save(tmp_path / "new" / "b.PNG")
    assert (tmp_path / "new" / "b.PNG").read_bytes() == (tmp_path / "a.png").read_bytes()
    picture.save(tmp_path / "c.png", watermark=True)
    assert images.read_parameters(tmp_path / "c.png") == picture.parameters
    marked = watermark.read(images.read(tmp_path / "c.png"))
    assert marked == watermark.tag(picture.parameters["model"])
    assert repr(picture) == f"<Picture 32 x 32 of {picture.parameters['prompt']!r}, seed 0>"
    assert repr(glide).startswith("<Glide 'plain': ")


def test_a_picture_that_cannot_be_saved_with_its_parameters_is_one_sentence(tmp_path):
    picture = Picture(Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2)), {"seed": 1})
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("here")
    for name, says in (
        ("star.jpg", "only a PNG carries the parameters"),
        ("star", "does not end in .png"),
        ("folder.png", "is a folder"),
        ("file/star.png", "cannot be written: File exists"),
    ):
        with pytest.raises(InputError, match=says):
            picture.save(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


def test_a_model_draws_on_the_device_that_is_named(tiny_model, glide):
    on_cpu = load(tiny_model, cache=None, device="cpu")
    leaf = jax.tree.leaves(on_cpu.loaded.params)[0]
    assert leaf.committed
    assert leaf.devices() == {jax.local_devices(backend="cpu")[0]}
    [here], [there] = glide(RED, **FEW), on_cpu(RED, **FEW)
    np.testing.assert_array_equal(here.array, there.array)
    other = jax.local_devices()[-1]
    assert jax.tree.leaves(load(tiny_model, cache=None, device=other).loaded.params)[
        0
    ].devices() == {other}
    with pytest.raises(InputError, match="device is 'tpu', but JAX finds none here"):
        load(tiny_model, cache=None, device="tpu")
    with pytest.raises(InputError, match="must be one of cpu, gpu, tpu"):
        load(tiny_model, cache=None, device="cuda:1")
    with pytest.raises(InputError, match="JAX lacks on a CPU"):
        load(tiny_model, cache=None, device="cpu", dtype="float16")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("num_inference_steps", 50, "its name here is steps"),
        ("num_images_per_prompt", 4, "its name here is n"),
        ("generator", None, "give seed, a number"),
        ("height", 512, "upsample=False gives the small one"),
        ("width", 512, "glide.sizes"),
        ("guidance", 3, "has an unknown field 'guidance'"),
    ],
)
def test_a_name_of_another_library_is_a_type_error_that_has_ours(glide, name, value, says):
    with pytest.raises(TypeError, match=says) as caught:
        glide(RED, **{name: value})
    assert isinstance(caught.value, InputError)


def test_importing_the_package_imports_no_jax():
    code = "import sys, glide_jax; assert not {'jax', 'flax', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
