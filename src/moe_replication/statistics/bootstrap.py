"""Bootstrap intervals of a mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from moe_replication.statistics.intervals import LEVEL, checked

# Fewer values hold too little of a distribution's shape: bootstrap intervals then cover less often than they say
# (tests/statistics/test_simulations.py), so they describe the values and decide nothing.
BOOTSTRAP_N = 20


def bootstrap_interval(
    values: Sequence[float], method: str, samples: int, seed: int, level: float = LEVEL
) -> tuple[float | None, float | None]:
    """Bootstrap interval of the mean from `samples` resamples; `method`: "percentile" or "BCa" (Efron, 1987).

    None at both ends where the values are one or all equal. See bootstrap_label before using it.
    """
    values = checked(values)
    if np.all(values == values[0]):
        return None, None
    generator = np.random.default_rng(seed)
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=samples, method=method, confidence_level=level, rng=generator
    ).confidence_interval
    return float(found.low), float(found.high)


def bootstrap_label(n: int) -> str:
    """What to print beside a bootstrap interval of n values: "descriptive" below 20, else ""."""
    return "descriptive" if n < BOOTSTRAP_N else ""
