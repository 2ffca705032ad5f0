"""Editing with tiny models: what stays to the bit, what changes, and what compiles."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from glide_jax import InputError
from glide_jax.sampling import canvas, cascade, edits
from tests import profiles

RED, BLUE = "a red circle", "two blue stars"
FEW = dict(steps=2, upsample_steps=2)
NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def programs() -> int:
    """How many programs the cascade has compiled in this process."""
    return sum(program._cache_size() for program in cascade.programs())


def picture(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


def box(height: int, width: int, rows: slice, columns: slice) -> Image.Image:
    mask = np.zeros((height, width), np.uint8)
    mask[rows, columns] = 255
    return Image.fromarray(mask)


def differs(a, b) -> np.ndarray:
    return (np.asarray(a) != np.asarray(b)).any(axis=-1)


@pytest.mark.parametrize("size", [(32, 32), (45, 80), (100, 61), (9, 30)])
def test_inpainting_a_picture_of_any_size_touches_white_alone(glide, size):
    image, mask = picture(*size), box(*size, slice(3, 9), slice(5, 20))
    [drawn] = glide.inpaint(image, mask, RED, **FEW)
    assert drawn.image.size == image.size
    changed, white = differs(drawn.image, image), np.asarray(mask) > 0
    assert not changed[~white].any()
    assert changed[white].mean() > 0.5


def test_a_result_is_the_next_call_s_picture(glide):
    first = picture(45, 80)
    masks = [box(45, 80, slice(0, 20), slice(k, k + 10)) for k in (0, 30)]
    [one] = glide.inpaint(first, masks[0], RED, **FEW)
    [two] = glide.inpaint(one.image, masks[1], BLUE, **FEW)
    changed = differs(two.image, first)
    assert not changed[:, 10:30].any()
    assert not changed[20:].any()
    assert changed[:20, :10].mean() > 0.5


def test_a_canvas_is_extended_around_the_picture(glide):
    image = picture(40, 30)
    [drawn] = glide.inpaint(image, None, RED, extend="5,0,12,3", **FEW)
    assert drawn.image.size == (47, 43)
    np.testing.assert_array_equal(drawn.array[:40, 5:35], image)
    assert drawn.array[:, 35:].std() > 0


def test_strength_resampling_and_seeds_matter_and_compile_nothing(glide):
    image, mask = Image.fromarray(NOISE), box(32, 32, slice(8, 24), slice(8, 24))
    draw = lambda **how: glide.inpaint(image, mask, RED, **(FEW | dict(steps=4) | how))[0].array
    plain, _ = draw(), draw(strength=0.5)
    before = programs()
    for how in (
        dict(repeats=3, jump=1), dict(repeats=2, jump=2), dict(strength=0.7), dict(seed=3),
        dict(strength=0.4, repeats=2, jump=1), dict(guidance_scale=1.5),
    ):  # fmt: skip
        assert (draw(**how) != plain).any(), how
    once = edits.inpainting(glide.loaded, image, mask, jump=3)  # of which stretches are nothing
    [same] = glide(RED, edit=once, **(FEW | dict(steps=4)))
    np.testing.assert_array_equal(same.array, plain)
    with pytest.raises(InputError, match="jump is 3, but repeats is 1"):
        draw(jump=3)
    assert programs() == before


def test_an_edit_goes_from_the_picture_to_what_the_prompt_alone_draws(glide):
    image = Image.fromarray(NOISE)
    draw = lambda strength, **how: glide.edit(image, RED, strength=strength, **FEW, **how)[0].array
    np.testing.assert_array_equal(draw(1e-4), NOISE)
    np.testing.assert_array_equal(draw(1), glide(RED, **FEW)[0].array)
    before = programs()
    half = draw(0.5)
    np.testing.assert_array_equal(draw(0.5), half)
    assert (draw(0.5, seed=1) != half).any()
    near, far = (np.abs(draw(s).astype(float) - NOISE).mean() for s in (0.01, 1))
    assert near < far
    assert programs() <= before + 1  # the noising


def test_arrays_paths_and_our_own_pictures_go_in(glide, tmp_path):
    mask = np.asarray(box(32, 32, slice(8, 24), slice(8, 24)))
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    [drawn] = glide(RED, **FEW)
    draw = lambda image, m: glide.inpaint(image, m, RED, **FEW)[0]
    first = draw(Image.fromarray(NOISE), Image.fromarray(mask)).array
    for image, m in (
        (NOISE, mask), (tmp_path / "a.png", mask > 0), (str(tmp_path / "a.png"), mask / 255.0),
        (jnp.asarray(NOISE), jnp.asarray(mask)),
    ):  # fmt: skip
        np.testing.assert_array_equal(draw(image, m).array, first)
    assert draw(drawn, mask).parameters["edit"]["image"] == canvas.identity(drawn.image)
    assert glide.edit(NOISE, RED, strength=0.5, mask=mask, **FEW)
    edited, varied = (
        glide.edit(drawn, RED, strength=0.5, **FEW)[0],
        glide.vary(drawn.array, RED, n=1, strength=0.5, **FEW)[0],
    )
    np.testing.assert_array_equal(edited.array, varied.array)
    small = drawn.array[:9, :16]
    large = [glide.upscale(i, RED, upsample_steps=2)[0] for i in (small, Image.fromarray(small))]
    np.testing.assert_array_equal(large[0].array, large[1].array)
    again = glide.repeat(edited.parameters, image=drawn)
    np.testing.assert_array_equal(again.array, edited.array)
    with pytest.raises(InputError, match="image is None"):
        glide.inpaint(None, mask, RED)


def test_a_layer_in_its_own_colours_is_painted_and_repeated(glide):
    layer = Image.fromarray(np.dstack([NOISE, NOISE[..., 0]]))
    layer.info["icc_profile"] = profiles.wide()
    with pytest.warns(UserWarning, match="its one value besides 0, 1, as white"):
        [drawn] = glide.inpaint(layer, np.uint8(np.tri(32)), RED, **FEW)
    assert drawn.image.mode == "RGBA"
    assert drawn.image.info == {"icc_profile": profiles.wide()}
    np.testing.assert_array_equal(drawn.array[np.tri(32) == 0], np.asarray(layer)[np.tri(32) == 0])
    with pytest.warns(UserWarning, match="as white"):
        again = glide.repeat(drawn.parameters, image=layer, mask=np.uint8(np.tri(32)))
    assert again.image.tobytes() == drawn.image.tobytes()
    assert again.image.info == drawn.image.info
    opaque = layer.copy()
    opaque.putalpha(255)
    with pytest.raises(InputError, match="pixels have changed"):
        glide.repeat(drawn.parameters, image=opaque, mask=np.tri(32))


def test_losses_are_told(glide):
    deep = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    with pytest.warns(UserWarning, match="16 bits a channel, of which 8 are left"):
        glide.inpaint(deep, np.tri(32), RED, **FEW)
    with pytest.warns(UserWarning, match="its CMYK colours become sRGB"):
        edits.inpainting(glide.loaded, Image.new("CMYK", (32, 32)), np.tri(32))
    with pytest.warns(UserWarning, match="what is transparent in the picture is white"):
        edits.redrawing(glide.loaded, Image.new("RGBA", (32, 32)))


def test_an_edit_with_a_mask_changes_white_alone(glide):
    image, mask = picture(45, 80), box(45, 80, slice(10, 30), slice(20, 60))
    [drawn] = glide.edit(image, RED, strength=0.5, mask=mask, **FEW)
    assert not differs(drawn.image, image)[np.asarray(mask) == 0].any()
    assert drawn.parameters["edit"]["strength"] == 0.5


def test_an_edit_keeps_the_aspect(glide):
    edit = edits.redrawing(glide.loaded, picture(60, 90), strength=0.5)
    assert edit.init is not None
    assert edit.init.shape == (32, 48, 3)


@pytest.mark.slow
def test_a_wide_picture_is_edited_at_its_aspect(glide):
    [drawn] = glide.edit(picture(60, 90), RED, strength=0.5, **FEW)
    assert (drawn.image.size, drawn.small.size) == ((48, 32), (24, 16))


def test_variations_are_pictures_of_one_seed(glide):
    image = Image.fromarray(NOISE)
    first, second = glide.vary(image, n=2, batch_size=1, **FEW)
    assert (first.array != second.array).any()
    assert first.parameters["prompt"] == ""
    [again] = glide.edit(image, "", strength=0.5, first_index=1, **FEW)
    np.testing.assert_array_equal(second.array, again.array)


def test_upscaling_the_base_s_picture_is_what_the_cascade_does(glide):
    [whole] = glide(RED, **FEW)
    [large] = glide.upscale(whole.small, RED, upsample_steps=2)
    np.testing.assert_array_equal(large.array, whole.array)


def test_a_large_picture_is_enlarged_in_windows(glide):
    image = picture(20, 26)
    [large] = glide.upscale(image, RED, upsample_steps=2)
    assert large.image.size == (52, 40)
    before = programs()
    [other] = glide.upscale(image, BLUE, seed=4, upsample_steps=3)
    assert programs() == before
    assert (other.array != large.array).any()
    # What lies far from a change does not see it, but through windows that overlap.
    changed = np.array(image)
    changed[:, :4] = 0
    [moved] = glide.upscale(Image.fromarray(changed), RED, upsample_steps=2)
    assert differs(moved.image, large.image)[:, :8].any()


@pytest.mark.slow
def test_frames_begin_and_end_with_what_the_prompts_draw_alone(glide, monkeypatch):
    # Also of a model that draws with noise in every step, unless it is told not to.
    noisy = dataclasses.replace(glide.loaded.sampling["base"], sampler="ddim", eta=1.0)
    monkeypatch.setitem(glide.loaded.sampling, "base", noisy)
    frames = glide.interpolate(RED, BLUE, frames=3, to_seed=7, **FEW)
    ode = dict(sampler="ddim", upsample_sampler="ddim", eta=0.0, **FEW)
    # In batches as large, since in others sums round differently and random weights magnify it.
    ends = glide(RED, n=3, **ode)[0], glide(BLUE, seed=7, n=3, **ode)[0]
    for frame, end in zip(frames[::2], ends, strict=True):
        assert np.abs(frame.array.astype(int) - end.array).max() <= 1
    assert all((frames[1].array != frame.array).mean() > 0.1 for frame in frames[::2])


def test_the_best_by_the_clip_are_kept_best_first(glide_full):
    how = dict(batch_size=3, **FEW)
    kept = glide_full([RED, BLUE], n=4, keep=2, **how)
    assert [p.parameters["prompt"] for p in kept] == [RED, RED, BLUE, BLUE]
    scores = [p.parameters["choice"]["score"] for p in kept]
    assert scores[0] >= scores[1]
    assert scores[2] >= scores[3]
    every = glide_full([RED, BLUE], n=4, **how)
    for p in kept:
        same = every[4 * (p.parameters["prompt"] == BLUE) + p.parameters["index"]]
        np.testing.assert_array_equal(p.array, same.array)
    all_of_them = glide_full(RED, n=4, keep=4, **how)
    assert sorted(p.parameters["index"] for p in all_of_them) == [0, 1, 2, 3]
    assert [p.parameters["index"] for p in all_of_them][:2] == [
        p.parameters["index"] for p in kept[:2]
    ]


def test_everything_is_drawn_again_bit_for_bit(glide):
    image, mask = picture(45, 80), box(45, 80, slice(10, 30), slice(20, 60))
    made = [
        glide(RED, n=2, seed=3, guidance_scale=1.5, **FEW)[1],
        *glide.inpaint(image, mask, RED, repeats=2, jump=1, **FEW),
        *glide.inpaint(image, None, RED, extend=(0, 0, 9, 0), **FEW),
        *glide.edit(Image.fromarray(NOISE), RED, strength=0.5, **FEW),
        *glide.upscale(picture(20, 26), RED, upsample_steps=2),
    ]
    went_in = [None, image, image, Image.fromarray(NOISE), picture(20, 26)]
    for p, given in zip(made, went_in, strict=True):
        again = glide.repeat(p.parameters, image=given, mask=mask)
        np.testing.assert_array_equal(again.array, p.array)
        assert again.parameters == p.parameters


def test_a_picture_that_went_in_must_be_the_same(glide):
    [drawn] = glide.edit(Image.fromarray(NOISE), RED, strength=1e-4, **FEW)
    with pytest.raises(InputError, match="was no file"):
        glide.repeat(drawn.parameters)
    with pytest.raises(InputError, match="pixels have changed"):
        glide.repeat(drawn.parameters, image=Image.fromarray(255 - NOISE))
    with pytest.raises(InputError, match="not whole"):
        glide.repeat({"prompt": RED})


@pytest.mark.usefixtures("unwrapped")
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda g, i: g(RED, n=2, keep=2), "keep is 2, but model 'plain' has no CLIP"),
        (lambda g, i: g.edit(i, RED, strength=0), "strength is 0"),
        (lambda g, i: g.edit(i, RED, strength=1.5), "strength is 1.5"),
        (lambda g, i: g.inpaint(i, None, RED), "nothing to paint"),
        (lambda g, i: g.inpaint(i, None, RED, extend=(1, 2)), "extend is"),
        (lambda g, i: g.inpaint(i, i, RED, repeats=0), "repeats is 0"),
        (lambda g, i: g.edit(picture(4, 40), RED), "40 x 4"),
        (lambda g, i: g.interpolate(RED, BLUE, frames=1), "frames is 1"),
        (lambda g, i: g.interpolate(RED, BLUE, to_seed=-1), "to_seed is -1"),
        (lambda g, i: g.upscale(Image.new("RGB", (5000, 2)), RED), "5000 x 2"),
    ],
)
def test_what_cannot_be_done_is_told(glide, call, says):
    with pytest.raises(InputError, match=says):
        call(glide, Image.fromarray(NOISE))
