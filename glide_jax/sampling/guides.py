"""What guides besides the prompt: a CLIP, a score, a worse model, more prompts."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.sampling import cascade
from glide_jax.sampling.loading import Loaded
from glide_jax.sampling.options import Options
from glide_jax.tokenizers.protocol import check_text

SEES = ("x_t", "x_0")


def checked(o: Options, loaded: Loaded) -> Options:
    """The options that guide, checked; `mix` as pairs of prompt and weight.

    A CLIP or a worse model takes the place of the empty prompt unless a scale is given for that.

    Raises:
        InputError: a value is wrong.
    """
    clip_scale, score_scale = o.clip_guidance_scale, o.score_scale
    if clip_scale is not None:
        if loaded.clip is None:
            raise InputError(f"model {loaded.name!r} has no CLIP to guide it.")
        clip_scale = checks.real("clip_guidance_scale", clip_scale, 0.0, 1000.0)
    if o.score is not None and not callable(o.score):
        raise InputError(
            f"score is {checks.shown(o.score)}; it must be a function of pictures (b, h, w, 3)."
        )
    through = o.clip_guidance_on if clip_scale is not None else None, o.score and o.score_on
    if loaded.exported and "x_0" in through:
        raise InputError(
            "guidance on x_0 takes the network's gradient, which a program has not; load the model "
            "without one, or guide on x_t."
        )
    if o.negative_prompt is not None:
        check_text(o.negative_prompt)
    weak_scale = checks.real("autoguidance_scale", o.autoguidance_scale, -100.0, 100.0)
    guidance_scale = o.guidance_scale
    if guidance_scale is None and o.negative_prompt is None and o.cfgpp_scale is None:
        instead = clip_scale is not None or o.autoguidance_model is not None
        guidance_scale = 1.0 if instead else None
    return dataclasses.replace(
        o,
        guidance_scale=guidance_scale,
        clip_guidance_scale=clip_scale,
        clip_guidance_on=checks.one_of("clip_guidance_on", o.clip_guidance_on, SEES),
        score_scale=checks.real("score_scale", score_scale, -1e6, 1e6),
        score_on=checks.one_of("score_on", o.score_on, SEES),
        autoguidance_scale=weak_scale,
        mix=_mix(o.mix),
    )


def _mix(mix: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(mix, Sequence) or isinstance(mix, str):
        raise InputError(f"mix is {checks.shown(mix)}; it must be a list of prompts and weights.")
    out = []
    for entry in mix:
        if isinstance(entry, str):  # as on the command line: WEIGHT:PROMPT
            weight, found, text = entry.partition(":")
            entry = (text, weight) if found else None
        if not isinstance(entry, Sequence) or len(entry) != 2:
            raise InputError(
                f"mix has the entry {checks.shown(entry or mix)}; it must be a weight and a "
                "prompt, such as 0.5:a blue star."
            )
        check_text(entry[0])
        out.append((entry[0], checks.real("a weight in mix", entry[1], -100.0, 100.0)))
    total = 1.0 + sum(weight for _, weight in out)
    if total < 1e-3:
        raise InputError(
            f"the weights in mix add to {total - 1.0:g}; with the prompt's own 1 their sum must be "
            "positive."
        )
    return tuple(out)


def check_weak(weak: Loaded, loaded: Loaded) -> Loaded:
    """Refuses a worse model of another size or noise schedule.

    Raises:
        InputError: it cannot guide this one.
    """
    a, b = weak.stages["base"], loaded.stages["base"]
    if a.image_size != b.image_size:
        raise InputError(
            f"autoguidance_model {weak.name!r} draws {a.image_size} pixels a side; it must be the "
            f"model's {b.image_size}."
        )
    if not np.array_equal(a.alpha_bar, b.alpha_bar):
        raise InputError(
            f"autoguidance_model {weak.name!r} has another noise schedule; it must be the model's."
        )
    return weak


def described(o: Options) -> dict[str, Any]:
    """What guides, as a picture's parameters tell it: only what is there."""
    out: dict[str, Any] = {}
    if o.negative_prompt is not None:
        out["negative_prompt"] = o.negative_prompt
    if o.mix:
        out["mix"] = [list(pair) for pair in o.mix]
    if o.clip_guidance_scale is not None:
        out["clip_guidance_on"] = o.clip_guidance_on
    if o.autoguidance_model is not None:
        out["autoguidance_model"] = str(o.autoguidance_model)
        out["autoguidance_scale"] = o.autoguidance_scale
    if o.score is not None:
        name = getattr(o.score, "__qualname__", type(o.score).__name__)
        out["score"] = f"{getattr(o.score, '__module__', '')}.{name}"
        out["score_scale"], out["score_on"] = o.score_scale, o.score_on
    return out


def of_base(
    o: Options,
    loaded: Loaded,
    weak: Loaded | None,
    encode: Callable[[str, int], Any],
    prompts: Sequence[int],
    first_of_mix: int,
) -> cascade.Guides:
    """What guides one batch of the base.

    Args:
        o: from `checked`.
        loaded: the model.
        weak: from `check_weak`.
        encode: from a stage's name ("base", "clip" or "weak") and a prompt's number to what its
            encoder says, leading axis 1.
        prompts: the number of each row's prompt.
        first_of_mix: the number of the first prompt of `mix`.
    """
    join = lambda name: jax.tree.map(
        lambda *rows: jnp.concatenate(rows), *(encode(name, p) for p in prompts)
    )
    pulls: dict[str, list[cascade.Pull]] = {sees: [] for sees in SEES}
    if o.clip_guidance_scale is not None and loaded.clip is not None:
        clip = loaded.clip
        log_prob = clip.log_prob if o.clip_guidance_on == "x_t" else clip.log_prob_clean
        bound = Partial(log_prob, loaded.params["clip"], text_embedding=join("clip"))
        pulls[o.clip_guidance_on].append(cascade.Pull(bound, o.clip_guidance_scale))
    if o.score is not None:
        pulls[o.score_on].append(cascade.Pull(Partial(o.score), o.score_scale))
    mix = worse = None
    if o.mix:
        weights = np.array([1.0, *(weight for _, weight in o.mix)])
        texts = tuple(encode("base", first_of_mix + k) for k in range(len(o.mix)))
        mix = cascade.Mix(texts, jnp.float32(weights / weights.sum()))
    if weak is not None:
        network = Partial(weak.stages["base"].network, weak.params["base"])
        worse = cascade.Weak(network, join("weak"), o.autoguidance_scale)
    return cascade.Guides(tuple(pulls["x_t"]), tuple(pulls["x_0"]), mix, worse)
