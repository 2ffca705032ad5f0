"""An optional loss of the text encoder's own: captions in a random order, word by word."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key


def any_order_loss(
    token_logits: Callable[[Array, Array], Float[Array, "b n v"]],
    tokens: Int[Array, "b n"],
    mask: Bool[Array, "b n"],
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """Cross-entropy of hidden words given the others, nats per word.

    GLIDE's paper has no such loss; its released code keeps the weight of one (`xf_ar`) with a head
    tied to the token embedding. GLIDE's text transformer attends both ways, so predicting the next
    word would be copying it, and a causal pass would train a function that no image ever sees.
    Instead, a uniformly random number of words is hidden, like padding, and predicted from the
    rest: an unbiased estimate of the log-likelihood of an autoregressive
    model that writes words in a random order (Uria et al., 2014; Hoogeboom et al., 2022,
    eq. 5), by the very network that conditions the images, with no parameter of its own.

    Args:
        token_logits: (tokens, mask) to logits at every position; must not look at hidden ones.
        tokens: captions, padded.
        mask: True where a token is real. Captions without one take no part.
        key: decides the words that are hidden.
    """
    count_key, order_key = jax.random.split(key)
    length = mask.sum(axis=1)
    count = jax.random.randint(count_key, length.shape, 1, jnp.maximum(length, 1) + 1)
    order = jnp.where(mask, jax.random.uniform(order_key, mask.shape), 2.0)
    rank = order.argsort(axis=1).argsort(axis=1)
    hidden = mask & (rank < count[:, None])
    # Encoders that ignore the mask must not see the words either.
    logits = token_logits(jnp.where(hidden, 0, tokens), mask & ~hidden).astype(jnp.float32)
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], axis=-1)[..., 0]
    each = -jnp.where(hidden, picked, 0.0).sum(axis=1) / count
    return each.sum() / jnp.maximum((length > 0).sum(), 1)
