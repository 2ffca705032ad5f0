"""The UNet as training sees it: recomputation and dtypes change memory, not what is learned."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.networks import unet, zoo
from glide_jax.types import Cond
from tests import tiny

CONFIG = zoo.ModelConfig(
    image_size=8,
    channels=32,
    channel_mult=(1, 2),
    res_blocks=1,
    attention=(4,),
    head_channels=32,
    dropout=0.3,
    text_width=32,
    text_layers=1,
    text_heads=2,
    text_context=6,
    vocab_size=20,
)
TOKENS = jnp.arange(12).reshape(2, 6)
INPUTS = (jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([3, 700]))


@pytest.mark.slow
def test_recomputing_blocks_changes_neither_names_nor_gradients():
    plain = zoo.glide_model(CONFIG)
    remat = plain.clone(unet=plain.unet.clone(remat=True), text=plain.text.clone(remat=True))

    def gradient(model, params):
        def loss(params):
            text = model.apply({"params": params}, TOKENS, TOKENS > 3, method="encode")
            rngs = {"dropout": jax.random.key(2)}
            out = model.apply({"params": params}, *INPUTS, Cond(text), train=True, rngs=rngs)
            return (out.eps**2).mean() + out.var_frac.mean()

        return jax.jit(jax.grad(loss))(params)

    params = tiny.weights(CONFIG)
    shapes = lambda model: jax.tree.map(
        jnp.shape,
        jax.eval_shape(
            lambda: model.init(
                jax.random.key(0), TOKENS, TOKENS > 3, *INPUTS, Cond(), method="initialise"
            )
        ),
    )
    assert shapes(plain) == shapes(remat)
    expected, found = gradient(plain, params), gradient(remat, params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
        found,
        expected,
    )
    text = jax.jit(lambda p: remat.apply({"params": p}, TOKENS, TOKENS > 3, method="encode"))(
        params
    )
    jaxpr = jax.make_jaxpr(lambda p: remat.apply({"params": p}, *INPUTS, Cond(text)))(params)
    names = [equation.primitive.name for equation in jaxpr.eqns]
    assert sum(name.startswith("remat") for name in names) == 10 + 4  # residual and attention


@pytest.mark.parametrize("channel_mult", [(1, 2), (1,)])
def test_kept_features_take_the_place_of_the_inner_levels(channel_mult):
    config = dataclasses.replace(CONFIG, channel_mult=channel_mult, attention=(), text_width=0)
    model, params = zoo.glide_model(config), {"params": tiny.weights(config)}
    evaluate = jax.jit(lambda x, t, kept: model.apply(params, x, t, Cond(), kept=kept))
    whole = evaluate(*INPUTS, ())
    [features] = whole.kept
    assert features.shape[1:] == unet.inner_shape(config, 8, 8)
    plain = evaluate(*INPUTS, None)
    assert plain.kept == ()
    np.testing.assert_array_equal(plain.eps, whole.eps)
    np.testing.assert_allclose(evaluate(*INPUTS, (features,)).eps, whole.eps, atol=1e-5)
    # At another x_t the outermost level is new, and the rest is not.
    other = evaluate(INPUTS[0] + 1.0, INPUTS[1], (features,))
    np.testing.assert_array_equal(other.kept[0], features)
    differs = lambda a, b: float(jnp.abs(a.eps - b.eps).max()) > 1e-3
    assert differs(other, whole)
    assert differs(other, evaluate(INPUTS[0] + 1.0, INPUTS[1], None))
