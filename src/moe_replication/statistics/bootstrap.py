"""Bootstrap intervals of a mean, and of a difference between groups of conditions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from moe_replication.statistics.finding import Conditions
from moe_replication.statistics.hypothesis_tests import TIE_TOLERANCE
from moe_replication.statistics.intervals import LEVEL, checked

# Fewer values hold too little of a distribution's shape: bootstrap intervals then cover less often than they say
# (tests/statistics/test_simulations.py), so they describe the values and decide nothing.
BOOTSTRAP_N = 20


def bootstrap_interval(
    values: Sequence[float], method: str, samples: int, seed: int
) -> tuple[float | None, float | None]:
    """95 % bootstrap interval of the mean from `samples` resamples; `method`: "percentile" or "BCa" (Efron, 1987).

    None at both ends where the values are one or all equal. See bootstrap_label before using it.
    """
    values = checked(values)
    if np.all(values == values[0]):
        return None, None
    generator = np.random.default_rng(seed)
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=samples, method=method, confidence_level=LEVEL, rng=generator
    ).confidence_interval
    return float(found.low), float(found.high)


def bootstrap_groups(strata: Conditions, samples: int, seed: int) -> tuple[float | None, float | None]:
    """Percentile interval of the difference between the groups' runs within data sets (exact_tests.py's weights).

    Whole conditions are drawn, with all their runs, as many of each group and data set as there are. None at both ends
    where every draw gives the same. With few conditions it covers less often than it says: descriptive.
    """
    generator = np.random.default_rng(seed)
    distance_D, weight_D = np.zeros(samples), np.zeros(samples)
    for pair in strata:
        (first_D, of_first_D), (second_D, of_second_D) = (_drawn_means(group, samples, generator) for group in pair)
        weights_D = of_first_D * of_second_D / (of_first_D + of_second_D)
        distance_D += weights_D * (first_D - second_D)
        weight_D += weights_D
    differences_D = distance_D / weight_D
    if np.ptp(differences_D) <= TIE_TOLERANCE * np.abs(differences_D).max():
        return None, None
    low, high = np.quantile(differences_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _drawn_means(
    group: Sequence[Sequence[float]], samples: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Of each draw of conditions the mean over its runs, and how many runs it has."""
    drawn_DC = generator.integers(len(group), size=(samples, len(group)))
    sums_C, sizes_C = (np.array([of(runs) for runs in group]) for of in (sum, len))
    sizes_D = sizes_C[drawn_DC].sum(axis=1)
    return sums_C[drawn_DC].sum(axis=1) / sizes_D, sizes_D


def bootstrap_label(n: int) -> str:
    """What to print beside a bootstrap interval of n values: "descriptive" below 20, else ""."""
    return "descriptive" if n < BOOTSTRAP_N else ""
