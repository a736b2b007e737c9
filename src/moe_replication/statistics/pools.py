"""Scores over a pool of tasks: interquartile mean and probability of improvement (Agarwal et al., 2021).

Arrays are scores_TS: a row a task, a column a run; higher is better. Intervals are stratified by task, every draw has
as many scores of each, but resample whole runs with all their tasks: one trained model answers every task, so its
scores rise and fall together. Agarwal et al. train a model a task and draw each task's runs anew; here that covers far
less than it says (tests/statistics/test_exact_simulations.py). Below 20 runs the intervals are descriptive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from moe_replication.statistics.intervals import LEVEL


@dataclass(frozen=True, kw_only=True)
class PoolEstimate:
    """A value over a pool with its 95 % percentile bootstrap interval; low and high are None with one run a side."""

    value: float
    low: float | None
    high: float | None


def interquartile_mean(scores_TS: np.ndarray, samples: int, seed: int) -> PoolEstimate:
    """Mean of the middle half of all scores, of every task and run."""
    return _estimate(_middle_half, (scores_TS,), samples, seed)


def probability_of_improvement(first_TS: np.ndarray, second_TS: np.ndarray, samples: int, seed: int) -> PoolEstimate:
    """Chance that a run of the first beats one of the second on a task, ties half, averaged over tasks."""
    return _estimate(_improvement, (first_TS, second_TS), samples, seed)


def _middle_half(scores_DTS: np.ndarray) -> np.ndarray:
    return stats.trim_mean(scores_DTS.reshape(len(scores_DTS), -1), 0.25, axis=1)


def _improvement(first_DTS: np.ndarray, second_DTS: np.ndarray) -> np.ndarray:
    differences_DTSS = first_DTS[..., :, None] - second_DTS[..., None, :]
    return np.mean((differences_DTSS > 0) + 0.5 * (differences_DTSS == 0), axis=(1, 2, 3))


def _estimate(
    statistic: Callable[..., np.ndarray], sides: tuple[np.ndarray, ...], samples: int, seed: int
) -> PoolEstimate:
    """`statistic` takes and returns an array with a leading dimension D, the draws."""
    value, generator = float(statistic(*(scores_TS[None] for scores_TS in sides))[0]), np.random.default_rng(seed)
    sizes = [scores_TS.shape[1] for scores_TS in sides]
    if min(sizes) < 2:
        return PoolEstimate(value=value, low=None, high=None)
    runs = [generator.integers(size, size=(samples, size)) for size in sizes]
    drawn = [scores_TS[:, chosen_DS].swapaxes(0, 1) for scores_TS, chosen_DS in zip(sides, runs, strict=True)]
    low, high = np.quantile(statistic(*drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return PoolEstimate(value=value, low=float(low), high=float(high))
