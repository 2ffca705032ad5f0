"""Prompts as the networks take them: each encoded once, when it is first needed."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from glide_jax.sampling import cascade
from glide_jax.sampling.loading import Loaded
from glide_jax.sampling.options import Options
from glide_jax.types import Params


def encoder(
    loaded: Loaded,
    placed: Callable[[str], Params],
    stages: Sequence[str],
    prompts: Sequence[str],
    options: Options,
    weak: Loaded | None,
    batch_size: int,
) -> Callable[[str, int], Any]:
    """A function from a stage (or "clip", or "weak") and a prompt's number to its condition.

    After the last prompt come the empty or negative one and those mixed in. Each is encoded alone
    (leading axis 1), so that a picture does not depend on its neighbours' prompts, and only as
    many are kept as one batch needs: the released base has 20 MB of keys and values for each.

    Args:
        loaded: the model.
        placed: a stage's parameters on the device.
        stages: those that run.
        prompts: at least one.
        options: of the call, checked.
        weak: the worse model of autoguidance, if there is one.
        batch_size: pictures at once.
    """
    encoders: dict[str, tuple[Callable[..., Any], int]] = {
        name: (loaded.stages[name].encode, loaded.stages[name].context) for name in stages
    }
    tokenizers = dict.fromkeys(encoders, loaded.tokenizer)
    if options.clip_guidance_scale is not None or options.keep is not None:
        clip, tokenizer = loaded.clip, loaded.clip_tokenizer
        assert clip is not None, "checked with the call"
        assert tokenizer is not None, "read together with the CLIP"
        encoders["clip"], tokenizers["clip"] = (clip.encode, clip.context), tokenizer
    others = {"clip": loaded.params.get("clip")}
    if weak is not None:
        base, others["weak"] = weak.stages["base"], weak.params["base"]
        encoders["weak"], tokenizers["weak"] = (base.encode, base.context), weak.tokenizer
    more = [options.negative_prompt or "", *(text for text, _ in options.mix)]
    # All at once and first, so that a bad prompt is refused before anything is drawn.
    tokens = {
        name: tokenizers[name]([*prompts, *more], context)
        for name, (_, context) in encoders.items()
    }

    @functools.lru_cache(maxsize=len(encoders) * (batch_size + len(more)))
    def encode(name: str, p: int) -> Any:
        ids, mask = (array[p : p + 1] for array in tokens[name])
        params = others[name] if name in others else placed(name)
        return cascade.encode_text(encoders[name][0], params, ids, mask)

    return encode
