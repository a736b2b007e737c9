"""Exact and small-sample tests. p values are exact unless the docstring says otherwise."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy import stats

from moe_replication.statistics.intervals import mean_interval

ALPHA = 0.05
MAX_SIGN_FLIP_N = 20
MAX_SPLITS = 500_000
# Sums that differ by less than this share of the largest possible sum are ties: they differ by rounding only.
TIE_TOLERANCE = 1e-9


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test on paired differences: the share of all 2^n sign patterns whose
    |sum| is at least the observed one, ties included. Full enumeration, so n <= 20 (ValueError above)."""
    differences = np.asarray(differences, dtype=np.float64)
    if not 1 <= len(differences) <= MAX_SIGN_FLIP_N:
        raise ValueError(f"sign_flip enumerates 2^n patterns: need 1 <= n <= {MAX_SIGN_FLIP_N}, got {len(differences)}")
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    threshold = abs(differences.sum()) - TIE_TOLERANCE * np.abs(differences).sum()
    return float(np.mean(np.abs(sums) >= threshold))


def sign_flip_minimum(n: int) -> float:
    """The smallest two-sided p that n paired differences can reach: 2 / 2^n."""
    return 2.0 / 2.0**n


def sign_flip_note(n: int) -> str:
    """What to print beside a sign-flip p that cannot be small however large the effect; else ""."""
    return f"cannot reach alpha = {ALPHA:g} at n = {n}" if sign_flip_minimum(n) > ALPHA else ""


def paired_t(differences: Sequence[float]) -> float:
    """Two-sided p of the paired t test; needs n >= 2 and differences that are not all equal."""
    differences = np.asarray(differences, dtype=np.float64)
    if len(differences) < 2 or np.all(differences == differences[0]):
        raise ValueError("the paired t test needs n >= 2 and differences that are not all equal")
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def welch_t(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of Welch's t test on independent samples; each needs two values, one of them values that differ."""
    sides = mean_interval(first), mean_interval(second)
    if not all(side.n > 1 for side in sides) or not any(side.sd for side in sides):
        raise ValueError("Welch's t test needs two values a sample and a sample whose values are not all equal")
    summary = [number for side in sides for number in (side.mean, side.sd, side.n)]
    return float(stats.ttest_ind_from_stats(*summary, equal_var=False).pvalue)


def permutation(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of the permutation test on the difference in means of independent samples: the share of all splits
    whose |difference| is at least the observed one, ties included. ValueError above 500,000 splits."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    pooled, size = np.concatenate([first, second]), len(first)
    splits = math.comb(len(pooled), size)
    if min(size, len(second)) < 1 or splits > MAX_SPLITS:
        raise ValueError(f"permutation needs 1 to {MAX_SPLITS} splits of two non-empty samples, got {splits}")
    chosen = pooled[_splits(len(pooled), size)].sum(axis=1)
    differences = chosen / size - (pooled.sum() - chosen) / len(second)
    tolerance = TIE_TOLERANCE * np.abs(pooled).sum()
    return float(np.mean(np.abs(differences) >= abs(first.mean() - second.mean()) - tolerance))


def permutation_minimum(n: int) -> float:
    """The smallest two-sided p that two samples of n values each can reach: 2 of the (2n choose n) splits."""
    return 2.0 / math.comb(2 * n, n)


@functools.lru_cache(maxsize=4)
def _splits(total: int, size: int) -> np.ndarray:
    """Every choice of `size` out of `total` positions, (choices, size)."""
    return np.array(list(combinations(range(total), size)), dtype=np.intp)


def holm(p_values: Sequence[float], kept: Sequence[bool] | None = None) -> list[float]:
    """Holm's step-down correction (1979), in the order given: the running maximum of (left to test) * p.

    kept: tests that stay in the count once they have passed, since one of their two hypotheses, within or beyond a
    margin, is true in any case (the logical restriction of Shaffer, 1986).
    """
    corrected, running, left = [0.0] * len(p_values), 0.0, len(p_values)
    for index in sorted(range(len(p_values)), key=lambda i: p_values[i]):
        running = max(running, min(1.0, left * p_values[index]))
        corrected[index] = running
        left -= not (kept and kept[index])
    return corrected
