"""Kernel distance (KID) and Inception Score, from features and logits of any extractor."""

import numpy as np
from jaxtyping import Float, Shaped

from glide_jax import checks
from glide_jax.errors import InputError

KERNEL_SUBSETS = 100
KERNEL_SUBSET_SIZE = 1000
SCORE_SPLITS = 10


def kernel_distance(
    a: Shaped[np.ndarray, "n d"],
    b: Shaped[np.ndarray, "m d"],
    *,
    subset_size: int = KERNEL_SUBSET_SIZE,
) -> tuple[float, float]:
    """Unbiased MMD^2 with the kernel (x.y / d + 1)^3 (Binkowski et al., 2018): "KID".

    Unlike the Fréchet distance it has no bias in n, and can be negative for equal distributions.

    Args:
        a: one set's features.
        b: the other set's features.
        subset_size: vectors in each random subset, without repeats, 2 or more; fewer where a set
            has fewer.

    Returns:
        The mean over KERNEL_SUBSETS pairs of subsets and its standard error, which covers only
        the choice of subsets.

    Raises:
        InputError: a set has fewer than two vectors.
    """
    size = min(checks.whole("subset_size", subset_size, 2, 1_000_000), len(a), len(b))
    if size < 2:
        raise InputError(f"sets of {len(a)} and {len(b)} pictures are too few; 2 are needed.")
    rng = np.random.default_rng(0)
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    pick = lambda rows: rows[rng.choice(len(rows), size, replace=False)]
    subsets = 1 if size == len(a) == len(b) else KERNEL_SUBSETS
    values = [_unbiased_mmd(pick(x), pick(y)) for _ in range(subsets)]
    return float(np.mean(values)), float(np.std(values) / np.sqrt(len(values)))


def _unbiased_mmd(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"]) -> float:
    kernel = lambda p, q: (p @ q.T / x.shape[1] + 1) ** 3
    n = len(x)
    within = lambda k: (k.sum() - np.trace(k)) / (n * (n - 1))
    return within(kernel(x, x)) + within(kernel(y, y)) - 2 * kernel(x, y).mean()


def inception_score(
    logits: Shaped[np.ndarray, "n c"], *, splits: int = SCORE_SPLITS
) -> tuple[float, float]:
    """exp of the mean KL(p(y|x) || p(y)), over equal runs of pictures (Salimans et al., 2016).

    Pictures are taken in the order given: those of one prompt or class should not lie together.

    Returns:
        Mean and standard deviation over the splits.

    Raises:
        InputError: there are fewer pictures than splits.
    """
    z = np.asarray(logits, np.float64)
    if not 1 <= splits <= len(z):
        raise InputError(f"splits is {splits}; with {len(z)} pictures it must be 1 to {len(z)}.")
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    scores = []
    for part in np.array_split(log_p, splits):
        p = np.exp(part)
        marginal = p.mean(axis=0, keepdims=True)
        divergence = (p * (part - np.log(marginal.clip(min=1e-300)))).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
    return float(np.mean(scores)), float(np.std(scores))
