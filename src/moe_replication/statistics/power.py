"""Power of the tests behind the verdicts, and how many runs or pairs a question needs, from the spread seen so far.

The sd is taken as exact. That of three seeds is a rough guess, and so is every power and every n made from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, stats

from moe_replication.statistics.hypothesis_tests import ALPHA
from moe_replication.statistics.intervals import LEVEL

POWER = 0.8
MAX_N = 10_000
# Shifts beyond, of an sd that is rounding error, count as this one, where power is 1; scipy returns NaN for them.
LARGE_SHIFT = 1e6
# Gauss-Legendre nodes in (0, 1), drawn together at both ends as v^2 (3 - 2v), where quantiles of chi rise steeply.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_V = (1 + _NODES) / 2
SHARES, SHARE_WEIGHTS = _V**2 * (3 - 2 * _V), 3 * _WEIGHTS * _V * (1 - _V)


def paired_power(effect: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Chance that a two-sided paired t test of n such differences rejects zero (noncentral t)."""
    if n < 2 or sd <= 0:
        raise ValueError(f"paired_power needs n >= 2 and sd > 0, got n = {n}, sd = {sd}")
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    shift = _shift(abs(effect), sd, n)
    opposite = 0.0
    # Rejections on the wrong side are rarer than 3e-7 beyond a shift of 5, where scipy's nct.cdf returns NaN.
    if shift < 5:
        opposite = float(stats.nct.cdf(-critical, n - 1, shift))
    return float(stats.nct.sf(critical, n - 1, shift)) + opposite


def one_sided_power(room: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Chance that a one-sided paired t test at a margin rejects when the true mean lies `room` on its claimed side."""
    return float(stats.nct.sf(stats.t.ppf(1 - alpha, n - 1), n - 1, _shift(room, sd, n)))


def detectable(sd: float, n: int, alpha: float = ALPHA) -> float:
    """Smallest true difference that a two-sided paired t test of n such differences finds with 80 % power."""
    high = 1.0
    while paired_power(high, 1.0, n, alpha) < POWER:
        high *= 2
    return sd * float(optimize.brentq(lambda effect: paired_power(effect, 1.0, n, alpha) - POWER, 0.0, high))


def needed_n(effect: float, sd: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Smallest n at which the paired t test reaches the power; None above 10,000 (or at effect 0)."""
    if effect == 0:
        return None
    return smallest_n(lambda n: paired_power(effect, sd, n, alpha) >= power)


def needed_n_one_sided(room: float, sd: float, alpha: float = ALPHA) -> int | None:
    """Smallest n at which the one-sided paired t test at a margin has 80 % power; None above 10,000 or at room 0 or
    less."""
    if room <= 0:
        return None
    return smallest_n(lambda n: one_sided_power(room, sd, n, alpha) >= POWER)


def equivalence_power(difference: float, sd: float, margin: float, n: int, alpha: float = ALPHA) -> float:
    """Chance that TOST places n differences of this mean and sd within +-margin (Phillips, 1990).

    Exact: for every sample sd that allows it the chance that the mean falls where both tests reject, integrated over
    the sd's chi distribution, in steps of equal probability.
    """
    error, df = sd / math.sqrt(n), n - 1
    critical = float(stats.t.ppf(1 - alpha, df))
    # Sample sd over true sd at which the interval is as wide as the margins are apart.
    widest = margin / (error * critical)
    allowed = float(stats.chi2.cdf(df * widest**2, df))
    half = critical * np.sqrt(stats.chi2.ppf(SHARES * allowed, df) / df)
    inside = stats.norm.cdf((margin - difference) / error - half) - stats.norm.cdf(half - (margin + difference) / error)
    return min(1.0, allowed * float(SHARE_WEIGHTS @ inside))


def needed_n_equivalence(difference: float, sd: float, margin: float, alpha: float = ALPHA) -> int | None:
    """Smallest n at which TOST has 80 % power; None above 10,000 or outside the margin."""
    if abs(difference) >= margin:
        return None
    return smallest_n(lambda n: equivalence_power(difference, sd, margin, n, alpha) >= POWER)


def needed_n_bound(margin: float) -> int:
    """Violation-free runs after which the two-sided Clopper-Pearson upper bound is below margin."""
    return math.floor(math.log((1 - LEVEL) / 2) / math.log1p(-margin)) + 1


def needed_n_prediction(distance: float, sd: float, margin: float) -> int | None:
    """Smallest n at which the 95 % prediction interval of a mean at this distance from a number lies wholly within the
    margin of it, or wholly beyond; None above 10,000: the interval never gets narrower than +-1.96 sd."""
    room = abs(abs(distance) - margin)
    return smallest_n(lambda n: stats.t.ppf((1 + LEVEL) / 2, n - 1) * sd * math.sqrt(1 + 1 / n) < room)


def _shift(difference: float, sd: float, n: int) -> float:
    """Noncentrality of t at a true difference."""
    return max(-LARGE_SHIFT, min(LARGE_SHIFT, difference / sd * math.sqrt(n)))


def smallest_n(enough: Callable[[int], bool]) -> int | None:
    """The first n of 2..10,000 that is enough, by bisection; `enough` never turns false again as n grows."""
    if not enough(MAX_N):
        return None
    low, high = 1, MAX_N
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
