"""How many paired seeds a question needs, from the spread observed so far."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import stats

ALPHA = 0.05
POWER = 0.8
MAX_N = 10_000


def paired_power(effect: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Chance that a two-sided paired t test of n such differences rejects zero (noncentral t)."""
    if n < 2 or sd <= 0:
        raise ValueError(f"paired_power needs n >= 2 and sd > 0, got n = {n}, sd = {sd}")
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    shift = abs(effect) / sd * math.sqrt(n)
    opposite = 0.0
    # Rejections on the wrong side are rarer than 3e-7 beyond a shift of 5, where scipy's nct.cdf returns NaN.
    if shift < 5:
        opposite = float(stats.nct.cdf(-critical, n - 1, shift))
    return float(stats.nct.sf(critical, n - 1, shift)) + opposite


def needed_n(effect: float, sd: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Smallest n at which the paired t test reaches the power; None above 10,000 (or at effect 0)."""
    if effect == 0:
        return None
    return _smallest_n(lambda n: paired_power(effect, sd, n, alpha) >= power)


def equivalence_power(difference: float, sd: float, margin: float, n: int, alpha: float = ALPHA) -> float:
    """Lower bound of the chance that TOST places n such differences within +-margin: the two one-sided powers
    added, less one (Bonferroni); tight once either side is nearly certain."""
    error = sd / math.sqrt(n)
    critical = stats.t.ppf(1 - alpha, n - 1)
    sides = ((margin + difference) / error, (margin - difference) / error)
    return max(0.0, sum(float(stats.nct.sf(critical, n - 1, shift)) for shift in sides) - 1)


def needed_n_equivalence(
    difference: float, sd: float, margin: float, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Smallest n at which TOST reaches the power; None above 10,000 or outside the margin."""
    if abs(difference) >= margin:
        return None
    return _smallest_n(lambda n: equivalence_power(difference, sd, margin, n, alpha) >= power)


def needed_n_bound(margin: float, level: float = 0.95) -> int:
    """Violation-free runs after which the two-sided Clopper-Pearson upper bound is below margin."""
    return math.floor(math.log((1 - level) / 2) / math.log1p(-margin)) + 1


def _smallest_n(enough: Callable[[int], bool]) -> int | None:
    """Bisection over 2..10,000; `enough` never turns false again as n grows."""
    if not enough(MAX_N):
        return None
    low, high = 1, MAX_N
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
