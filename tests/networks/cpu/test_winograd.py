"""Convolutions by fewer multiplications are the same convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.errors import InputError
from glide_jax.model_dir import reading
from glide_jax.model_dir.weights import pack_weights, wrap_apply
from glide_jax.networks import initial, zoo
from glide_jax.networks.blocks import Conv3x3
from glide_jax.networks.cpu import choice, winograd
from glide_jax.networks.cpu.choice import plan, prepared
from glide_jax.networks.cpu.convolution import TransformedKernel, bare_kernels, transform_kernel
from glide_jax.types import Cond
from tests import tiny


def direct64(x, kernel):
    """Each output as its definition says, in float64."""
    x = np.pad(np.float64(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    h, w = x.shape[1] - 2, x.shape[2] - 2
    taps = [(i, j) for i in range(3) for j in range(3)]
    return sum(x[:, i : i + h, j : j + w] @ np.float64(kernel)[i, j] for i, j in taps)


@pytest.mark.parametrize("m", winograd.TILES)
def test_transforms_make_a_convolution_of_one_row_exactly(m):
    to_tiles, of_kernel, from_tiles = winograd.matrices(m)
    rng = np.random.default_rng(0)
    row, kernel = rng.standard_normal(m + 2), rng.standard_normal(3)
    found = from_tiles @ ((of_kernel @ kernel) * (to_tiles @ row))
    np.testing.assert_allclose(found, np.correlate(row, kernel, "valid"), atol=1e-12)


# How many times a direct convolution's rounding: found are 1.0 and 3.1 to 4.0; the usual points of
# F(4, 3) have 6.4 (rms, 192 channels).
@pytest.mark.parametrize(("m", "times"), [(2, 1.5), (4, 5.0)])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (2, 31)])
def test_a_prepared_convolution_is_the_convolution_at_any_size(m, times, size):
    rng = np.random.default_rng(0)
    draw = lambda *shape: np.float32(rng.standard_normal(shape))
    x, layer = draw(2, *size, 64), Conv3x3(48)
    params = {"kernel": draw(3, 3, 64, 48) / 24, "bias": np.zeros(48, np.float32)}
    prepared = params | {"kernel": transform_kernel(params["kernel"], m)}
    assert prepared["kernel"].tiles.shape == (m + 2, m + 2, 64, 48)
    expected = direct64(x, params["kernel"])
    run = jax.jit(lambda p: layer.apply({"params": p}, x))
    error = lambda p: np.square(np.float64(run(p)) - expected).mean() ** 0.5
    assert error(params) < 1e-6
    assert error(prepared) < times * error(params)


@pytest.fixture
def narrow(monkeypatch):
    """Tiny networks have few channels and small maps, so the plan's thresholds go down too."""
    monkeypatch.setattr(choice, "MIN_CHANNELS", 32)
    monkeypatch.setattr(choice, "MIN_SIDE_4", 16)


@pytest.mark.slow
def test_a_network_with_prepared_kernels_is_the_same_network(narrow):
    config = tiny.BASE
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda s: np.float32(0.1 * rng.standard_normal(s.shape)), initial.shapes(config)
    )
    model = zoo.glide_model(config)
    x, t = rng.standard_normal((2, 16, 16, 3)), jnp.array([10, 900])
    tokens, mask = jnp.zeros((2, 12), jnp.int32), jnp.ones((2, 12), bool)

    @jax.jit
    def run(params):
        apply = lambda *a, **k: model.apply({"params": params}, *a, **k)
        text = apply(tokens, mask, method="encode")
        return jnp.concatenate(apply(jnp.float32(x), t, Cond(text))[:2], axis=-1)

    expected = run(params)
    for algorithm in ("winograd2", "winograd4"):
        found = prepared(config, params, algorithm)
        changed = {
            a.shape != b.shape for a, b in zip(*map(jax.tree.leaves, (params, found)), strict=True)
        }
        assert changed == {True, False}
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(run(found), expected, atol=2e-5 * scale)


def test_large_maps_take_large_tiles_and_strides_and_few_channels_none(narrow):
    config = tiny.BASE  # 16 px of 32 channels, 8 px of 64, resampled by convolutions with a stride
    tiles = plan(config, initial.shapes(config), largest=4)
    assert tiles["unet/input_1_res/in_conv/kernel"] == 4
    assert tiles["unet/middle_0_res/out_conv/kernel"] == 2
    assert "unet/input_0/kernel" not in tiles, "three channels in"
    assert "unet/out_conv/kernel" not in tiles, "six channels out"
    assert "unet/input_2_conv/kernel" not in tiles, "a stride of 2"


def test_an_unknown_algorithm_is_refused_by_name():
    with pytest.raises(InputError, match="convolutions is 'fft'; it must be one of auto, direct"):
        prepared(tiny.BASE, {}, "fft")


def test_the_model_in_the_box_is_too_narrow_to_gain():
    model = reading.read_model(reading.BOXED / "shapes")
    config, params = model.stages["base"]
    assert plan(config.model, params, largest=4) == {}


@pytest.mark.parametrize(("weights", "error"), [("bfloat16", 0.004), ("int8", 0.004)])
def test_small_weights_keep_the_type_of_a_transformed_kernel(weights, error):
    plain = np.float32(np.random.default_rng(0).standard_normal((3, 3, 32, 32)))
    kernel = transform_kernel(plain, 4)
    kept = pack_weights({"conv": {"kernel": kernel}}, weights)
    assert kept["conv"]["kernel"].m == 4
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(kept)) <= 0.6 * kernel.tiles.nbytes
    read = jax.jit(wrap_apply(weights)(lambda variables: variables["conv"]["kernel"]))(kept)
    assert isinstance(read, TransformedKernel)
    scale = float(jnp.abs(kernel.tiles).max())
    np.testing.assert_allclose(read.tiles, kernel.tiles, atol=error * scale)


def test_bare_kernels_are_the_arrays_of_typed_ones(narrow):
    params = prepared(tiny.BASE, tiny.weights(tiny.BASE), "winograd4")
    kernel = params["unet"]["input_1_res"]["in_conv"]["kernel"]
    bare = bare_kernels(params)
    assert bare["unet"]["input_1_res"]["in_conv"]["kernel"] is kernel.tiles
    assert jax.tree.structure(bare) == jax.tree.structure(tiny.weights(tiny.BASE))
