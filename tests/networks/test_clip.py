"""The noise-aware CLIP's own options; what it computes is held to recorded numbers in golden/."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.networks import zoo

CONFIG = zoo.ClipConfig(
    image_size=8, image_width=16, image_layers=2, image_heads=2, text_width=16, text_layers=2,
    text_heads=2, text_context=6, vocab_size=20, embedding_width=8,
)  # fmt: skip
INPUTS = (jnp.linspace(-1, 1, 384).reshape(2, 8, 8, 3), jnp.array([3, 700]))
TEXT = (
    jnp.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 9]]),
    jnp.array([[1] * 3 + [0] * 3, [1] * 6]),
)


@pytest.mark.slow
def test_recomputing_blocks_changes_neither_names_nor_gradients():
    plain = zoo.clip_model(CONFIG)
    remat = plain.clone(image=plain.image.clone(remat=True), text=plain.text.clone(remat=True))
    init = lambda model: model.init(jax.random.key(0), *INPUTS, *TEXT, method="initialise")
    params = jax.jit(lambda: init(plain))()
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        lambda leaf: leaf.shape, jax.eval_shape(lambda: init(remat))
    )
    gradient = lambda model: jax.jit(
        jax.grad(lambda p: model.apply(p, *INPUTS, *TEXT, method="initialise").sum())
    )(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        gradient(plain),
        gradient(remat),
    )
    names = str(
        jax.make_jaxpr(lambda p: remat.apply(p, *INPUTS, *TEXT, method="initialise"))(params)
    )
    assert names.count("remat") + names.count("checkpoint") >= 4
