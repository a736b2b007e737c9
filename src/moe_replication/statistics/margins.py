"""p values of a mean beside a limit that is no centre of symmetry: a margin, or a threshold.

Zero is one where two conditions do not differ, and so a sign-flip test holds there whatever the values' shape. A margin
or a threshold is none: counts that are zero in nearly every run and large in a few have a mean that few runs show.
Counts of experts must therefore pass two tests, t and one that uses nothing but their range (bounded.py); values of
other metrics that are all equal say nothing, since they leave the t test without a scale.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from moe_replication.statistics.bounded import Range, bounded_p
from moe_replication.statistics.power import smallest_n

AT_MARGIN = ("equivalence", "at_most")
# (values, limit, highest value or None) -> p of "the mean is at `limit` or above", over the last axis.
Below = Callable[[np.ndarray, float, float | None], np.ndarray]


def below_p(values: np.ndarray, limit: float, highest: float | None) -> np.ndarray:
    """By the one-sided t test; of counts, whose `highest` value is given, the larger of its p and `bounded_p`.

    Where all values are equal 2^-n, the sign-flip test's, stands in for t with counts, and 1 with other metrics.
    """
    n, equal, mean = values.shape[-1], np.ptp(values, axis=-1) == 0, values.mean(axis=-1)
    error = np.where(equal, 1.0, values.std(axis=-1, ddof=1)) / np.sqrt(n)
    by_t = stdtr(n - 1, (mean - limit) / error)
    if highest is None:
        return np.where(equal, 1.0, by_t)
    by_t = np.where(equal, np.where(mean < limit, 2.0**-n, 1.0), by_t)
    return np.maximum(by_t, bounded_p(values, limit, highest))


def within_p(claim: dict, values: ArrayLike, limits: Range | None, below: Below = below_p) -> np.ndarray:
    """p that is small when the mean lies on the claimed side of the margin; two-sided for a threshold, whose values
    are distances from it."""
    values, (low, high) = np.asarray(values, dtype=np.float64), limits or (None, None)
    above = _above(values, low, below)
    if claim["comparison"] == "threshold":
        return np.minimum(1.0, 2 * np.minimum(below(values, 0.0, high), above(0.0)))
    margin = claim["margin"]
    if claim["comparison"] == "equivalence":
        return np.maximum(below(values, margin, high), above(-margin))
    return below(values, margin, high) if claim["direction"] == "less" else above(-margin)


def beyond_p(claim: dict, values: ArrayLike, limits: Range | None, below: Below = below_p) -> np.ndarray:
    """p that is small when the mean lies beyond the margin, doubled: as strict as a two-sided interval."""
    values, (low, high) = np.asarray(values, dtype=np.float64), limits or (None, None)
    above, margin = _above(values, low, below), claim["margin"]
    if claim["comparison"] == "equivalence":
        nearest = np.minimum(above(margin), below(values, -margin, high))
    else:
        nearest = above(margin) if claim["direction"] == "less" else below(values, -margin, high)
    return np.minimum(1.0, 2 * nearest)


def needed_by_range(claim: dict, values: ArrayLike, limits: Range, alpha: float, beyond: bool = False) -> int | None:
    """The first n at which values spread like these pass the test from their range; None above 10,000."""
    test = beyond_p if beyond else within_p

    def enough(n: int) -> bool:
        repeated = functools.partial(bounded_p, fold=n / len(values))
        return bool(test(claim, values, limits, repeated) < alpha)

    return smallest_n(enough)


def room(claim: dict, effect: ArrayLike) -> np.ndarray:
    """How far the effect lies from the margin of an equivalence or at_most, on the claimed side if positive."""
    if claim["comparison"] == "equivalence":
        return claim["margin"] - np.abs(effect)
    return claim["margin"] - np.asarray(effect) * (1 if claim["direction"] == "less" else -1)


def _above(values: np.ndarray, lowest: float | None, below: Below) -> Callable[[float], np.ndarray]:
    """limit -> p of "the mean is at `limit` or below"."""
    return lambda limit: below(-values, -limit, None if lowest is None else -lowest)
