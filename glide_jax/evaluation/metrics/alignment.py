"""How well pictures fit their captions, from embeddings of both."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glide_jax import checks
from glide_jax.errors import InputError

LOGIT_SCALE = 100.0  # the released CLIPs' own

Embeddings = Shaped[np.ndarray, "n e"]


def clip_score(images: Embeddings, texts: Embeddings) -> float:
    """The mean cosine of each picture and its caption times LOGIT_SCALE (GLIDE, figure 6).

    Scaled by CLIP's logit scale, as in the paper; neither 2.5 max(cos, 0) (Hessel et al., 2021)
    nor a percentage.

    Raises:
        InputError: the numbers of pictures and captions differ, or there are none.
    """
    return LOGIT_SCALE * mean_cosine(images, texts)


def mean_cosine(images: Embeddings, texts: Embeddings) -> float:
    """The mean cosine of each picture and its caption.

    Raises:
        InputError: the numbers of pictures and captions differ, or there are none.
    """
    x, y = _units(images, texts)
    return float((x * y).sum(axis=1).mean())


def own_caption_first(
    images: Embeddings,
    texts: Embeddings,
    captions: Sequence[str],
    *,
    candidates: int = 100,
) -> Bool[np.ndarray, " n"]:
    """Whether a picture's own caption beats 99 others drawn at random (Xu et al., 2018).

    The mean is R-precision. Others are captions that read differently; a tie is lost.

    Args:
        images: embeddings of the pictures, of any length.
        texts: embeddings of their captions, in the same order.
        captions: the captions themselves.
        candidates: captions compared for each picture, its own among them; 2 or more.

    Raises:
        InputError: there are fewer different captions than candidates, or the numbers differ.
    """
    x, y = _units(images, texts)
    rows, own = _distinct(captions, len(x))
    checks.whole("candidates", candidates, 2, max(2, len(rows)))
    if len(rows) < candidates:
        raise InputError(
            f"candidates is {candidates}, but there are {len(rows)} different captions."
        )
    rng, won = np.random.default_rng(0), np.empty(len(x), bool)
    for i, mine in enumerate(own):
        others = rng.choice(len(rows) - 1, candidates - 1, replace=False)
        others += others >= mine  # every caption but one's own
        won[i] = (y[rows[others]] @ x[i]).max() < y[i] @ x[i]
    return won


def retrieval(
    images: Embeddings,
    texts: Embeddings,
    captions: Sequence[str],
    *,
    at: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Recall at k, from picture to caption ("text") and back ("image"), among all of the set.

    Captions that read the same are one; a picture of any of its pictures' captions is right.

    Args:
        images: embeddings of the pictures, of any length.
        texts: embeddings of their captions, in the same order.
        captions: the captions themselves.
        at: the values of k.

    Raises:
        InputError: the numbers of pictures and captions differ, or there are none.
    """
    x, y = _units(images, texts)
    rows, own = _distinct(captions, len(x))
    similarity = x @ y[rows].T  # (pictures, different captions)
    mine = similarity[np.arange(len(x)), own]
    # A rank counts the wrong ones that are at least as near as the right one.
    text_rank = (similarity >= mine[:, None]).sum(axis=1) - 1
    image_rank = np.empty(len(rows), np.int64)
    for c in range(len(rows)):
        right = own == c
        image_rank[c] = (similarity[~right, c] >= similarity[right, c].max()).sum()
    ranks = {"text": text_rank, "image": image_rank}
    return {f"{way}_r@{k}": float((rank < k).mean()) for way, rank in ranks.items() for k in at}


def _units(
    images: np.ndarray, texts: np.ndarray
) -> tuple[Float[np.ndarray, "n e"], Float[np.ndarray, "n e"]]:
    if images.shape != texts.shape or images.ndim != 2 or not len(images):
        raise InputError(
            f"pictures' embeddings are {images.shape} and captions' {texts.shape}; "
            "they must be equally many and wide, and one at least."
        )
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True).clip(min=1e-12)
    return unit(np.asarray(images, np.float64)), unit(np.asarray(texts, np.float64))


def _distinct(
    captions: Sequence[str], n: int
) -> tuple[Int[np.ndarray, " c"], Int[np.ndarray, " n"]]:
    """The rows of the captions' first appearances, and each row's number among them."""
    if len(captions) != n:
        raise InputError(f"there are {len(captions)} captions for {n} pictures; one for each.")
    number = {caption: k for k, caption in enumerate(dict.fromkeys(captions))}
    own = np.array([number[caption] for caption in captions], np.int64)
    return np.unique(own, return_index=True)[1], own
