"""A test of a mean that assumes no shape: values are independent and cannot leave a known range.

Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86:1-27.
Where the mean is at the limit or above, a stake against it gains nothing on average, so that the wealth that the values
leave is at most one on average, and 1/wealth a p value (Markov). The wealths of ten stakes are averaged: tenths of the
largest that no value can turn into debt.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

STAKES = np.arange(1, 11) / 10
# Metrics that count experts, and their lowest value as a part of the number of experts; the highest is all of them.
COUNTS = {
    "dead_experts": 0,
    "dead_experts_assigned": 0,
    "dead_experts_fair_share": 0,
    "dead_experts_peak": 0,
    "dead_experts_revived": 0,
    "dead_experts_tenth_percent": 0,
    "dead_since_best": -1,
    "experts_dead_lasting": 0,
    "experts_returned": 0,
    "scan_active_range": 0,
    "scan_mass_active_range": 0,
    "silent_experts": 0,
}

Range = tuple[float, float]


def bounded_p(values: ArrayLike, limit: float, highest: float, fold: float = 1) -> np.ndarray:
    """p of "the mean is at `limit` or above", over the last axis, for values that are never above `highest`.

    1 where `highest` is not above the limit, or not known (infinite). fold: with every value that many times.
    """
    values = np.asarray(values, dtype=np.float64)
    if not limit < highest < np.inf:
        return np.ones(values.shape[:-1])
    gains = (limit - values) / (highest - limit)
    with np.errstate(divide="ignore"):  # the largest stake may leave nothing
        wealth = fold * np.log(np.maximum(0, 1 + STAKES[:, None] * gains[..., None, :])).sum(axis=-1)
    return np.exp(np.minimum(0, np.log(len(STAKES)) - logsumexp(wealth, axis=-1)))


def count_range(metric: str, experts: float | None) -> Range | None:
    """Lowest and highest value of a count of experts; infinite where their number is not known; None for others."""
    if metric not in COUNTS:
        return None
    total = np.inf if experts is None else float(experts)
    return (COUNTS[metric] * total if COUNTS[metric] else 0.0, total)


def difference_range(ranges: list[Range | None]) -> Range | None:
    """Of first minus second, or (first minus second) minus (third minus fourth), from the ranges of each."""
    if None in ranges:
        return None
    plus, minus = [ranges[0], *ranges[3:]], ranges[1:3]
    low = sum(low for low, _ in plus) - sum(high for _, high in minus)
    return low, sum(high for _, high in plus) - sum(low for low, _ in minus)
