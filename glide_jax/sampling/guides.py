"""The guides of the base besides the prompt: a CLIP, a score, a worse model, more prompts."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax.tree_util import Partial

from glide_jax.sampling import cascade
from glide_jax.sampling.call import SEES
from glide_jax.sampling.loading import Loaded
from glide_jax.sampling.prompts import Texts
from glide_jax.sampling.request import Request


def of_base(request: Request, loaded: Loaded, texts: Texts, rows: Sequence[int]) -> cascade.Guides:
    """The guides of one batch of the base.

    Args:
        request: the call.
        loaded: the model.
        texts: the encoded prompts.
        rows: the number of each row's prompt.
    """
    call, weak = request.call, request.weak
    pulls: dict[str, list[cascade.Pull]] = {sees: [] for sees in SEES}
    if call.clip_guidance_scale and loaded.clip is not None:
        clip = loaded.clip
        log_prob = clip.log_prob if call.clip_guidance_on == "x_t" else clip.log_prob_clean
        bound = Partial(log_prob, loaded.params["clip"], text_embedding=texts.clip(rows))
        pulls[call.clip_guidance_on].append(cascade.Pull(bound, call.clip_guidance_scale))
    if call.score is not None:
        pulls[call.score_on].append(cascade.Pull(Partial(call.score), call.score_scale))
    mix = worse = None
    if call.mix:
        mix = cascade.Mix(texts.mix("base"), jnp.float32(call.mix_weights))
    if weak is not None and call.weak_guides:
        network = Partial(weak.stages["base"].network, weak.params["base"])
        worse = cascade.Weak(network, texts.weak(rows), texts.mix("weak"), call.autoguidance_scale)
    return cascade.Guides(tuple(pulls["x_t"]), tuple(pulls["x_0"]), mix, worse)
