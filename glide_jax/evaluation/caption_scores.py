"""How well a run's pictures fit their captions, overall and by group, in the eyes of one reader."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from glide_jax.evaluation.emoji_judge import SIDE, EmojiJudge
from glide_jax.evaluation.features.clip import Clip
from glide_jax.evaluation.features.extractor import Features, collect, extract
from glide_jax.evaluation.metrics import alignment
from glide_jax.evaluation.metrics.intervals import share_of
from glide_jax.evaluation.protocols import Protocol

MOST_CANDIDATES = 100
_SHUFFLE_SEED = 0

Pictures = Iterable[UInt8[np.ndarray, "h w 3"]]


def by_clip(clip: Clip, pictures: Pictures, protocol: Protocol) -> dict[str, Any]:
    """A CLIP's scores of pictures, one for each prompt of the protocol, ready for JSON.

    Args:
        clip: the reader.
        pictures: one for each prompt, in order.
        protocol: the prompts and their groups.
    """
    images, texts = _embed(clip.images, pictures), clip.texts(protocol.prompts)
    return _identity(clip.images) | _scores(images, texts, protocol, alignment.clip_score)


def by_judge(judge: EmojiJudge, pictures: Pictures, protocol: Protocol) -> dict[str, Any]:
    """The emoji judge's scores of pictures, beside those that show how far it can be relied on.

    "real" are its scores of the reference pictures, whose captions are true: what a perfect model
    would have. "shuffled" are those of the reference pictures in another order.

    Args:
        judge: the reader.
        pictures: one for each prompt, in order.
        protocol: the prompts, their groups and the reference pictures.
    """
    real, texts = judge.look(protocol.reference(SIDE)), judge.texts(protocol.prompts)
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(real))
    score = lambda images: _scores(images, texts, protocol, alignment.mean_cosine)
    return {
        **_identity(judge.images),
        **score(judge.look(pictures)),
        "real": score(real),
        "shuffled": score(real[order]),
    }


def _identity(features: Features) -> dict[str, Any]:
    return {"extractor": {"name": features.name, "sha256": features.sha256}}


def _embed(features: Features, pictures: Pictures) -> Float[np.ndarray, "n d"]:
    return collect(extract(features, pictures)).pool


def _scores(
    images: np.ndarray, texts: np.ndarray, protocol: Protocol, mean: Callable[..., float]
) -> dict[str, Any]:
    """Every score that two sets of vectors have.

    Args:
        images: vectors of pictures.
        texts: vectors of the protocol's prompts.
        protocol: the prompts and their groups.
        mean: gives the score of its name.
    """
    prompts, groups, name = protocol.prompts, np.array(protocol.groups), mean.__name__
    candidates = min(MOST_CANDIDATES, len(set(prompts)))
    scores: dict[str, Any] = {
        name: mean(images, texts),
        **alignment.retrieval(images, texts, prompts),
    }
    if candidates > 1:
        first = alignment.own_caption_first(images, texts, prompts, candidates=candidates)
        scores |= {"r_precision": float(first.mean()), "r_precision_candidates": candidates}
        scores["by_group"] = {
            group: {
                name: mean(images[mine], texts[mine]),
                "own_caption_first": share_of(int(first[mine].sum()), int(mine.sum())),
            }
            for group in dict.fromkeys(protocol.groups)
            for mine in [groups == group]
        }
    return scores
