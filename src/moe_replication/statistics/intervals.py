"""Interval estimates. Everything is float64; two-sided; 95 % unless mean_interval is told otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# The functions behind scipy.stats' t and beta: every figure reads this module, and scipy.stats takes long to import.
from scipy.special import betaincinv, stdtrit

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Mean of n values with its interval; sd (divisor n - 1), low and high are None at n = 1."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student t interval for the mean: mean +- t * sd / sqrt(n)."""
    return _t_interval(values, level, lambda n: 1 / math.sqrt(n))


def prediction_interval(values: Sequence[float]) -> Interval:
    """Interval for one new value from the same normal population: mean +- t * sd * sqrt(1 + 1/n)."""
    return _t_interval(values, LEVEL, lambda n: math.sqrt(1 + 1 / n))


def paired_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Student t interval for the mean of first - second, paired by position."""
    return mean_interval(np.subtract(checked(first), checked(second)))


def clopper_pearson(events: int, n: int) -> tuple[float, float]:
    """Exact interval for a rate from `events` in n trials (Clopper and Pearson, 1934)."""
    if not 0 <= events <= n or n < 1:
        raise ValueError(f"events = {events}, n = {n}: need 0 <= events <= n and n >= 1")
    tail = (1 - LEVEL) / 2
    low = 0.0 if events == 0 else float(betaincinv(events, n - events + 1, tail))
    high = 1.0 if events == n else float(betaincinv(events + 1, n - events, 1 - tail))
    return low, high


def _t_interval(values: Sequence[float], level: float, width_in_sd: Callable[[int], float]) -> Interval:
    values = checked(values)
    n, mean = len(values), float(values.mean())
    if n == 1:
        return Interval(n=1, mean=mean, sd=None, low=None, high=None)
    sd = 0.0 if np.all(values == values[0]) else float(values.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * sd * width_in_sd(n)
    return Interval(n=n, mean=mean, sd=sd, low=mean - half, high=mean + half)


def checked(values: Sequence[float]) -> np.ndarray:
    """The values as float64; ValueError unless they are a non-empty list of finite numbers."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"need a non-empty list of finite numbers, got {values!r}")
    return values
