"""Blocks: what a fresh one does, and in which dtype; their numbers are in tests/golden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.networks import blocks


def fresh(block, *inputs):
    """What a block with fresh parameters gives, and the parameters."""
    variables = block.init(jax.random.key(0), *inputs)
    return block.apply(variables, *inputs), variables


def test_a_fresh_residual_block_is_the_identity():
    x, emb = jnp.ones((1, 4, 4, 32)), jnp.ones((1, 16))
    y, _ = fresh(blocks.ResBlock(32), x, emb)
    np.testing.assert_array_equal(y, x)


def test_a_group_of_several_channels_keeps_their_levels_and_a_group_of_one_does_not():
    x, emb = jax.random.normal(jax.random.key(0), (1, 4, 4, 32)), jnp.ones((1, 16))
    louder = x.at[..., 0].add(1.0)
    for groups, alike in ((8, False), (32, True)):
        block = blocks.ResBlock(32, groups=groups)
        params = block.init(jax.random.key(1), x, emb)["params"]
        params["out_conv"]["kernel"] = jnp.ones_like(params["out_conv"]["kernel"])
        added = [block.apply({"params": params}, y, emb) - y for y in (x, louder)]
        assert np.allclose(*added, atol=1e-3) == alike


def test_a_fresh_attention_block_is_the_identity():
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 32))
    y, _ = fresh(blocks.AttentionBlock(2), x)
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_computes_over_float32_parameters(dtype):
    x, emb = jnp.ones((1, 4, 4, 32), dtype), jnp.ones((1, 16))
    y, variables = fresh(blocks.ResBlock(64, dtype=dtype), x, emb)
    assert y.dtype == dtype
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_in_float16_is_that_in_float32(causal):
    q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 5, 2, 8))
    half = [a.astype(jnp.float16) for a in (q, k, v)]
    found = blocks.attend(*half, causal=causal)
    assert found.dtype == jnp.float16
    np.testing.assert_allclose(found, blocks.attend(q, k, v, causal=causal), atol=5e-3)


@pytest.mark.parametrize(("resample", "size"), [("up", 8), ("down", 2), (None, 4)])
def test_resampling_changes_the_size(resample, size):
    x, emb = jnp.ones((1, 4, 4, 32)), jnp.ones((1, 16))
    block = blocks.ResBlock(32, resample=resample)
    y, _ = fresh(block, x, emb)
    assert y.shape == (1, size, size, 32)


def test_depth_to_space_undoes_space_to_depth():
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    packed = blocks.space_to_depth(x, 4)
    assert packed.shape == (2, 2, 3, 48)
    np.testing.assert_array_equal(blocks.depth_to_space(packed, 4), x)
    np.testing.assert_array_equal(packed[0, 0, 0].reshape(4, 4, 3), x[0, :4, :4])


def test_dropout_acts_in_training_only():
    x, emb = jax.random.normal(jax.random.key(0), (1, 4, 4, 32)), jnp.ones((1, 16))
    block = blocks.ResBlock(32, dropout=0.5)
    params = block.init(jax.random.key(1), x, emb)["params"]
    params["out_conv"]["kernel"] = jnp.ones_like(params["out_conv"]["kernel"])
    run = lambda key, train: block.apply(
        {"params": params}, x, emb, train=train, rngs={"dropout": jax.random.key(key)}
    )
    np.testing.assert_array_equal(run(0, False), run(1, False))
    assert not np.array_equal(run(0, True), run(1, True))


def test_initialising_with_an_output_gives_the_output_of_the_parameters():
    x = 5 + jax.random.normal(jax.random.key(0), (1, 4, 4, 32))
    y, variables = blocks.GroupNorm(8).init_with_output(jax.random.key(1), x)
    np.testing.assert_array_equal(y, blocks.GroupNorm(8).apply(variables, x))
    assert abs(y.mean()) < 1e-5
