"""Crops as ADM makes them, low-resolution pictures as samplers will give them."""

import math
import random

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from glide_jax.data import transforms
from glide_jax.data.example import Rejected
from glide_jax.diffusion import samplers


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def adm_scale(image, shortest):
    """The part that both of guided-diffusion's crops share (image_datasets.py)."""
    while min(*image.size) >= 2 * shortest:
        image = image.resize(tuple(x // 2 for x in image.size), resample=Image.Resampling.BOX)
    scale = shortest / min(*image.size)
    size = tuple(round(x * scale) for x in image.size)
    return np.array(image.resize(size, resample=Image.Resampling.BICUBIC))


def adm_center_crop(image, size):
    pixels = adm_scale(image, size)
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]


@pytest.mark.parametrize("shape", [(16, 16), (40, 40), (33, 50), (129, 70), (16, 90), (11, 20)])
def test_center_crop_is_adms(shape):
    image = noise(*shape)
    want = adm_center_crop(Image.fromarray(image), 16)
    np.testing.assert_array_equal(transforms.center_crop(image, 16), want)


@pytest.mark.parametrize("shape", [(16, 16), (40, 40), (33, 50), (90, 30)])
def test_random_crop_is_a_window_that_adm_could_have_drawn(shape):
    image = noise(*shape)
    rng = np.random.default_rng(0)
    sides = range(16, math.ceil(16 / 0.8) + 1)
    scaled = [adm_scale(Image.fromarray(image), side) for side in sides]
    windows = {
        pixels[top : top + 16, left : left + 16].tobytes()
        for pixels in scaled
        for top in range(pixels.shape[0] - 15)
        for left in range(pixels.shape[1] - 15)
    }
    crops = [transforms.random_crop(image, 16, rng) for _ in range(20)]
    assert {crop.shape for crop in crops} == {(16, 16, 3)}
    assert {crop.tobytes() for crop in crops} <= windows
    assert len({crop.tobytes() for crop in crops}) > 5


def test_pictures_under_a_third_of_the_size_are_too_small():
    for crop in (
        lambda image: transforms.center_crop(image, 48),
        lambda image: transforms.random_crop(image, 48, np.random.default_rng(0)),
    ):
        assert crop(noise(16, 80)).shape == (48, 48, 3)
        with pytest.raises(Rejected, match=r"too small \(80 x 15 pixels for 48\)"):
            crop(noise(15, 80))


def test_flip_mirrors_with_its_probability():
    image, rng = noise(4, 6), np.random.default_rng(0)
    assert (transforms.flip(image, 0.0, rng) == image).all()
    assert (transforms.flip(image, 1.0, rng) == image[:, ::-1]).all()
    flipped = [(transforms.flip(image, 0.3, rng) != image).any() for _ in range(300)]
    assert 0.2 < np.mean(flipped) < 0.4


def test_captions_are_chosen_evenly_or_the_first():
    rng = np.random.default_rng(0)
    drawn = [transforms.choose("abc", "random", rng) for _ in range(300)]
    assert min(map(drawn.count, "abc")) > 70
    assert {transforms.choose("abc", "first", rng) for _ in range(20)} == {"a"}


def test_quantize_and_to_float_are_the_samplers_grid():
    x = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)
    ties = (np.arange(0, 255) + 0.5).astype(np.float32) / np.float32(127.5) - np.float32(1)
    x = np.concatenate([x, ties, np.float32([-1, 0, 1])])
    ours = transforms.to_float(transforms.quantize(x))
    assert ours.dtype == np.float32
    # XLA divides by multiplying with the reciprocal, which costs a last bit.
    theirs = samplers.quantize(jnp.asarray(x)[None, None, None])[0, 0, 0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1.2e-7)


def test_quantize_rounds_half_to_even_and_clamps():
    assert transforms.quantize(np.array([0.0, -1.5, 1.5])).tolist() == [128, 0, 255]
    assert transforms.quantize(np.array([-1, 1], np.float32)).tolist() == [0, 255]


def test_low_res_is_the_rounded_area_mean():
    image = noise(16, 16)
    means = image.astype(np.float64).reshape(4, 4, 4, 4, 3).mean((1, 3))
    low = transforms.low_res(image, 4, np.random.default_rng(0))
    assert low.dtype == np.uint8
    assert np.abs(low - means).max() <= 0.5 + 1e-4
    flat = np.full((16, 16, 3), 77, np.uint8)
    assert (transforms.low_res(flat, 4, np.random.default_rng(0)) == 77).all()


@pytest.mark.parametrize("factor", [2, 4])
def test_exact_halves_of_low_res_round_to_even(factor):
    # Every level and a half: half of each block is one level higher.
    levels = np.arange(255, dtype=np.uint8)
    image = np.zeros((255 * factor, 255 * factor, 3), np.uint8)
    image[:] = np.repeat(levels, factor)[None, :, None]
    image[::2] += 1
    low = transforms.low_res(image, 255, np.random.default_rng(0))
    assert (low[0, :, 0] == levels + levels % 2).all()


def test_low_res_blur_and_noise_are_random_up_to_their_sigmas():
    image = noise(64, 64)
    plain = transforms.low_res(image, 16, np.random.default_rng(0)).astype(float)
    spread = lambda seed, **options: np.std(
        transforms.low_res(image, 16, np.random.default_rng(seed), **options) - plain
    )
    noisy = [spread(seed, noise=0.1) for seed in range(40)]
    assert max(noisy) < 0.1 * 127.5 * 1.1
    assert max(noisy) > 0.08 * 127.5
    assert min(noisy) < 0.02 * 127.5
    assert len({spread(seed, blur=1.0) for seed in range(5)}) == 5


def test_blur_spreads_a_point_as_a_gaussian_and_keeps_the_sum():
    x = np.zeros((31, 31, 1), np.float32)
    x[15, 15] = 1
    blurred = transforms.gaussian_blur(x, 2.0)
    assert blurred.dtype == np.float32
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    rows = np.arange(31) - 15
    variance = (blurred[..., 0].sum(1) * rows**2).sum()
    assert variance == pytest.approx(4, rel=0.03)
    assert blurred[15, 17, 0] / blurred[15, 15, 0] == pytest.approx(math.exp(-0.5), rel=1e-4)


def test_blur_changes_no_flat_picture_and_tiny_sigmas_nothing():
    flat = np.full((5, 7, 3), 0.25, np.float32)
    np.testing.assert_allclose(transforms.gaussian_blur(flat, 3.0), flat, atol=1e-6)
    image = random.Random(0)
    x = np.array([[[image.random()]] * 4] * 4, np.float32)
    assert transforms.gaussian_blur(x, 0.0) is x


def dot(side=64):
    """White, with one dark square left of the middle and above it."""
    image = np.full((side, side, 3), 255, np.uint8)
    image[side // 4 : side // 2, side // 8 : side // 4] = 40
    return image


def centre(image):
    rows, columns = np.nonzero(image[..., 0] < 128)
    return np.array([rows.mean(), columns.mean(), len(rows)])


def test_what_was_done_to_a_picture_stands_before_its_caption_and_is_true():
    seen, (row, column, area) = set(), centre(dot())
    for seed in range(60):
        rng = np.random.default_rng(seed)
        image, caption = transforms.augment(dot(), "a cat", 1.0, rng)
        *words, last = caption.split(", ")
        assert last == "a cat"
        seen |= set(words)
        scale = 1 + 0.1 * (("larger" in words) - ("smaller" in words))
        moves = dict(reversed(word.split()) for word in words if " " in word)
        down = int(moves.get("down", 0)) - int(moves.get("up", 0))
        right = int(moves.get("east", 0)) - int(moves.get("west", 0))
        sign = -1 if "mirrored" in words else 1
        expected = 31.5 + scale * (row - 31.5) + down, 31.5 + sign * scale * (column - 31.5) + right
        np.testing.assert_allclose(centre(image)[:2], expected, atol=0.6)
        assert centre(image)[2] == pytest.approx(area * scale**2, rel=0.12)
    assert seen == {"mirrored", "larger", "smaller"} | {
        f"{k} {way}" for k in (1, 2) for way in ("up", "down", "east", "west")
    }


@pytest.mark.parametrize(
    "caption", ["left arrow", "OK button", "a flag", "keycap: 3", "two o'clock"]
)
def test_nothing_with_a_side_a_letter_or_a_number_is_mirrored(caption):
    for seed in range(20):
        _, told = transforms.augment(dot(), caption, 1.0, np.random.default_rng(seed))
        assert "mirrored" not in told


def test_no_random_number_is_drawn_where_nothing_is_to_be_done():
    rng = np.random.default_rng(0)
    image, caption = transforms.augment(dot(), "a cat", 0.0, rng)
    np.testing.assert_array_equal(image, dot())
    assert caption == "a cat"
    assert rng.random() == np.random.default_rng(0).random()
