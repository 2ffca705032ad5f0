"""Counts with exact intervals."""

import math
from typing import TypedDict

from glide_jax import checks
from glide_jax.extras import extra


class Share(TypedDict):
    """A proportion `share` = right / n with the bounds of its exact 95% interval."""

    right: int
    n: int
    share: float
    low: float
    high: float


def share_of(right: int, n: int) -> Share:
    """A count with its proportion and its exact 95% interval."""
    low, high = binomial_interval(right, n)
    return {"right": right, "n": n, "share": right / n, "low": low, "high": high}


def percent(share: Share, digits: int = 1) -> str:
    """A share with its interval as text, in percent."""
    low, value, high = (
        f"{100 * bound:.{digits}f}" for bound in (share["low"], share["share"], share["high"])
    )
    return f"{value} ({low} to {high})"


def binomial_interval(right: int, n: int) -> tuple[float, float]:
    """The exact 95% interval of a proportion (Clopper and Pearson, 1934).

    It covers the true proportion at least 95 times in 100, also for few trials and near 0 and 1,
    where the usual plus-or-minus does not. `right` is 0 to n.

    Returns:
        The lower and the upper end, 0 to 1.

    >>> [round(end, 2) for end in binomial_interval(9, 10)]
    [0.55, 1.0]
    """
    n = checks.whole("n", n, 1, 2**53)
    right = checks.whole("right", right, 0, n)
    interval = extra("scipy.stats").binomtest(right, n).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def difference_interval(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """The 95% interval of first minus second, two independent proportions (successes, trials).

    Newcombe's (1998, method 10) with exact bounds of each in place of Wilson's, which makes it
    wider, never narrower than it should be for few trials.

    Returns:
        The lower and the upper end, -1 to 1.
    """
    (low_a, high_a), (low_b, high_b) = binomial_interval(*first), binomial_interval(*second)
    a, b = first[0] / first[1], second[0] / second[1]
    low = a - b - math.hypot(a - low_a, high_b - b)
    high = a - b + math.hypot(high_a - a, b - low_b)
    return max(-1.0, low), min(1.0, high)
