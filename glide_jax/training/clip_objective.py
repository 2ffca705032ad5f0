"""The objective of the noise-aware CLIP: matching captions of a batch to noised pictures."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from glide_jax.diffusion import samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.training.objectives import Batch
from glide_jax.training.quartiles import by_quartile
from glide_jax.types import Loss, Params

MAX_LOGIT_SCALE = 100.0


def with_logit_scale(model: Params, logit_scale: float = 1.0 / 0.07) -> dict[str, Any]:
    """A CLIP's parameters with, beside them, the logarithm of its logit scale, which is trained.

    It starts where CLIP's does (Radford et al., 2021, section 2.5).
    """
    return {**model, "log_logit_scale": jnp.log(jnp.float32(logit_scale))}


def without_logit_scale(params: dict[str, Any]) -> tuple[Params, float]:
    """The CLIP's parameters and the logit scale that belongs into its config."""
    model = {name: branch for name, branch in params.items() if name != "log_logit_scale"}
    return model, float(jnp.exp(_capped(jnp.asarray(params["log_logit_scale"]))))


@jax.custom_vjp
def _capped(log_scale: Float[Array, ""]) -> Float[Array, ""]:
    """At most log 100, as CLIP's; at the cap, gradients that would raise it are dropped.

    A plain minimum would drop all of them, and a scale that once passed 100 would stay there.
    """
    return jnp.minimum(log_scale, math.log(MAX_LOGIT_SCALE))


def _capped_forward(log_scale: Array) -> tuple[Array, Array]:
    return _capped(log_scale), log_scale


def _capped_backward(log_scale: Array, gradient: Array) -> tuple[Array]:
    raising = (log_scale >= math.log(MAX_LOGIT_SCALE)) & (gradient < 0)
    return (jnp.where(raising, 0.0, gradient),)


_capped.defvjp(_capped_forward, _capped_backward)


def contrastive(
    encode_image: Callable[[Params, Array, Array], Float[Array, "b e"]],
    encode_text: Callable[[Params, Array, Array], Float[Array, "b e"]],
    schedule: Schedule,
) -> Loss:
    """Symmetric cross-entropy over the batch, pictures noised at all timesteps (GLIDE, app. B.1).

    Every other caption of the batch is a negative. Under jit over a mesh that is the global batch,
    on whichever devices its rows are; with gradients accumulated in parts it is a part. Parameters
    are those of `with_logit_scale`.

    Args:
        encode_image: (params, x_t, t) to unit vectors; must ignore the logit scale in params.
        encode_text: (params, tokens, mask) to unit vectors.
        schedule: the diffusion that the guided model has, un-respaced.
    """

    def loss(params: Any, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        i_key, eps_key = jax.random.split(key)
        i = jax.random.randint(i_key, batch.image.shape[:1], 0, schedule.num_steps)
        eps = jax.random.normal(eps_key, batch.image.shape)
        x_t = samplers.q_sample(schedule.at(i), batch.image, eps)
        images = encode_image(params, x_t, schedule.t[i])
        texts = encode_text(params, batch.tokens, batch.mask)

        scale = jnp.exp(_capped(params["log_logit_scale"]))
        # The scale magnifies rounding a hundredfold, so no bfloat16 passes here.
        logits = scale * jnp.matmul(images, texts.T, precision="highest")
        # By a sum, which every device computes of its rows alone. `jnp.diagonal` gathers rows in
        # branches, in which devices of a CPU wait for each other in another order, and for ever.
        own = jnp.where(jnp.eye(len(logits), dtype=bool), logits, 0.0).sum(axis=1)
        by_image = jax.nn.logsumexp(logits, axis=1) - own
        by_text = jax.nn.logsumexp(logits, axis=0) - own
        # Captions that occur twice are equally right.
        found = (own >= logits.max(axis=1)).astype(jnp.float32)
        quartiles = by_quartile("accuracy", found, i, schedule.num_steps)
        summary = {"accuracy": found.mean(), "logit_scale": scale}
        return 0.5 * (by_image + by_text).mean(), summary | quartiles

    return loss
