"""Exact intervals for counts."""

import math

from glide_jax import checks
from glide_jax.extras import extra


def binomial_interval(right: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a proportion (Clopper and Pearson, 1934).

    It covers the true proportion at least as often as `confidence` says, also for few trials and
    near 0 and 1, where the usual plus-or-minus does not.

    Args:
        right: successes, 0 to n.
        n: trials, 1 or more.
        confidence: 0 to 1.
    """
    n = checks.whole("n", n, 1, 2**53)
    right = checks.whole("right", right, 0, n)
    tail = (1 - checks.real("confidence", confidence, 0.0, 1.0)) / 2
    beta = extra("scipy.stats").beta
    low = beta.ppf(tail, right, n - right + 1) if right else 0.0
    high = beta.ppf(1 - tail, right + 1, n - right) if right < n else 1.0
    return float(low), float(high)


def difference_interval(
    first: tuple[int, int], second: tuple[int, int], *, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of the difference of two independent proportions.

    Newcombe's (1998, method 10) with exact bounds of each in place of Wilson's, which makes it
    wider, never narrower than it should be for few trials.

    Args:
        first: successes and trials.
        second: successes and trials of what is subtracted.
        confidence: 0 to 1.
    """
    (low_a, high_a), (low_b, high_b) = (
        binomial_interval(right, n, confidence=confidence) for right, n in (first, second)
    )
    a, b = first[0] / first[1], second[0] / second[1]
    low = a - b - math.hypot(a - low_a, high_b - b)
    high = a - b + math.hypot(high_a - a, b - low_b)
    return max(-1.0, low), min(1.0, high)
