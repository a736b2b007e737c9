"""Standardised differences: Hedges g of paired and of independent samples, and the correlation of pairs.

Paired samples are standardised by the sd of their differences (g_z in Lakens, 2013): the unit of the paired t test
and of its power, and the one with an exact interval. It grows with the correlation of the pairs, so it does not
compare with g of unpaired studies; the independent g, over the pooled sd, does. Intervals invert the noncentral t
distribution (Steiger and Fouladi, 1997; Cumming and Finch, 2001); estimate and interval carry Hedges' factor against
small-sample bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from moe_replication.statistics.intervals import LEVEL

# Above this |t| the normal part of noncentral t changes the limits by less than 0.1 %, and scipy's inversion stalls.
LARGE_T = 1000.0


@dataclass(frozen=True, kw_only=True)
class EffectSize:
    """Hedges g with its 95 % interval."""

    g: float
    low: float
    high: float


def small_sample_factor(df: int) -> float:
    """Hedges' exact factor (1981): gamma(df/2) / (sqrt(df/2) gamma((df-1)/2)); df >= 2."""
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)


def hedges_paired(differences: Sequence[float]) -> EffectSize | None:
    """g_z of paired differences; None below n = 3, where the factor is zero, and where all are equal."""
    differences = np.asarray(differences, dtype=np.float64)
    n = len(differences)
    if n < 3 or np.all(differences == differences[0]):
        return None
    return _hedges(float(differences.mean() / differences.std(ddof=1)), 1 / math.sqrt(n), n - 1)


def hedges_independent(first: Sequence[float], second: Sequence[float]) -> EffectSize | None:
    """g of two independent samples over their pooled sd; None below n = 2 in either and where both are constant."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    df = len(first) + len(second) - 2
    if min(len(first), len(second)) < 2 or all(np.all(values == values[0]) for values in (first, second)):
        return None
    squares = sum(((values - values.mean()) ** 2).sum() for values in (first, second))
    distance = (first.mean() - second.mean()) / math.sqrt(squares / df)
    return _hedges(float(distance), math.sqrt(1 / len(first) + 1 / len(second)), df)


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's r of pairs; None below n = 3, where it is +-1 or undefined, and where either side is constant."""
    if len(first) < 3 or any(len(set(values)) == 1 for values in (first, second)):
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _hedges(distance: float, error: float, df: int) -> EffectSize:
    """g of a standardised distance whose t is distance / error."""
    factor = small_sample_factor(df)
    low, high = (factor * error * shift for shift in _noncentrality(distance / error, df))
    return EffectSize(g=factor * distance, low=low, high=high)


def _noncentrality(t: float, df: int) -> tuple[float, float]:
    """Shifts of noncentral t under which a value as high, or as low, as t has a chance of 2.5 %."""
    tail = (1 - LEVEL) / 2
    if abs(t) <= LARGE_T:
        low, high = (float(special.nctdtrinc(df, p, abs(t))) for p in (1 - tail, tail))
    else:
        low, high = (abs(t) * math.sqrt(stats.chi2.ppf(p, df) / df) for p in (tail, 1 - tail))
    return (low, high) if t >= 0 else (-high, -low)
