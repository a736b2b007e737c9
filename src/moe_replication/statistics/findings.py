"""What the runs say about one claim: effect, interval and uncorrected p, by the rules of claims.py."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import stats

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.claim_power import WITH_PAPER
from moe_replication.statistics.compare import paired, seed_values, sign_flip_beside
from moe_replication.statistics.finding import Finding
from moe_replication.statistics.hypothesis_tests import paired_t, sign_flip_minimum, tost
from moe_replication.statistics.intervals import (
    Interval,
    clopper_pearson,
    paired_interval,
    prediction_interval,
)
from moe_replication.statistics.pooled_findings import OF_A_RATE, measure_groups, measure_sign


def measure(claim: dict, runs: pl.DataFrame, curves: pl.DataFrame, analysis: AnalysisSettings) -> Finding:
    """Effect, interval and uncorrected p of one claim."""
    table, when = runs, ""
    if "epoch" in claim:
        table, when = curves.filter(epoch=claim["epoch"]), f" at epoch {claim['epoch']:g}"
    names = [*claim["conditions"], *claim.get("against", [])]
    values = {name: seed_values(table, claim["paper"], name, claim["metric"]) for name in names}
    if claim["comparison"] == "groups":
        found = measure_groups(claim, runs, table, when, analysis)
    else:
        missing = _missing(claim, values, runs, when)
        found = Finding(missing=missing) if missing else _measure_values(claim, values)
    total = runs.filter(pl.col("paper") == claim["paper"], pl.col("condition").is_in(names)).height
    valueless = max(0, total - sum(map(len, values.values())))
    return dataclasses.replace(found, valueless=valueless, paper_difference=_paper_difference(claim, runs))


def _paper_difference(claim: dict, runs: pl.DataFrame) -> float | None:
    """First minus second in the paper; where it counts epochs, the same part of our horizon."""
    value = claim.get("paper_value") if claim["comparison"] in WITH_PAPER else None
    if value is None or "paper_epochs" not in claim:
        return value
    horizons = seed_values(runs, claim["paper"], claim["conditions"][0], "epochs").values()
    return value * max(horizons) / claim["paper_epochs"] if horizons else None


def _missing(claim: dict, values: dict[str, dict[int, float]], runs: pl.DataFrame, when: str) -> str:
    """Why the claim cannot be judged, or ""; a pooled sign makes do with the conditions that have a value."""
    empty = [name for name, found in values.items() if not found]
    ran = set(runs.filter(paper=claim["paper"])["condition"])
    if absent := [name for name in empty if name not in ran]:
        return f"no run of {absent[0]}"
    if empty and (claim["comparison"] != "sign" or len(empty) == len(values)):
        return f"no run of {empty[0]} has a value of {claim['metric']}{when}"
    return ""


def _measure_values(claim: dict, values: dict[str, dict[int, float]]) -> Finding:
    """`values` by condition and seed; only a pooled sign may have conditions without one."""
    columns = {name: list(found.values()) for name, found in values.items() if found}
    first = columns[next(iter(columns))]
    if claim["comparison"] == "bound":
        return _measure_bound(claim, [value for column in columns.values() for value in column])
    if claim["comparison"] == "sign":
        return measure_sign(claim, columns)
    if claim["comparison"] == "value":
        return _from_interval(prediction_interval(first), "95 % prediction interval")
    if claim["comparison"] == "threshold":
        return _measure_threshold(claim, first)
    common = paired(*values.values())
    if not common[0]:
        return Finding(missing=f"{' and '.join(values)} have no seed in common")
    unpaired = sum(map(len, columns.values())) - len(columns) * len(common[0])
    ends = common if len(common) == 2 else (_minus(*common[:2]), _minus(*common[2:]))
    return dataclasses.replace(_measure_pairs(claim, *ends), unpaired=unpaired)


def _measure_bound(claim: dict, values: list[float]) -> Finding:
    below = claim["direction"] == "less"
    broken = sum(value > claim["paper_value"] if below else value < claim["paper_value"] for value in values)
    low, high = clopper_pearson(broken, len(values))
    worst = max(values) if below else min(values)
    return Finding(
        n=len(values), effect=broken / len(values), low=low, high=high, interval=OF_A_RATE, broken=broken, worst=worst
    )


def _measure_threshold(claim: dict, values: list[float]) -> Finding:
    numbers, limit = values, claim["threshold"]
    if claim.get("logarithmic"):
        numbers, limit = [math.log(value) for value in values], math.log(limit)
    found = _measure_pairs(claim, numbers, [limit] * len(numbers))
    back = math.exp if claim.get("logarithmic") else float
    effect, low, high = (None if end is None else back(limit + end) for end in (found.effect, found.low, found.high))
    return dataclasses.replace(found, effect=effect, distance=found.effect, low=low, high=high)


def _minus(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(first, second, strict=True)]


def _measure_pairs(claim: dict, first: list[float], second: list[float]) -> Finding:
    differences = _minus(first, second)
    if claim["comparison"] == "difference":
        return _from_interval(prediction_interval(differences), "95 % prediction interval")
    interval, p_value = paired_interval(first, second), None
    if claim["comparison"] in ("equivalence", "at_most"):
        if interval.n > 1:
            equivalence = claim["comparison"] == "equivalence"
            p_value = tost(differences, claim["margin"]) if equivalence else _one_sided_t(claim, differences)
        return _from_interval(interval, p=p_value, equal_p=2.0**-interval.n)
    p_sign_flip, note = sign_flip_beside(first, second)
    minimum = None if p_sign_flip is None else sign_flip_minimum(interval.n)
    equal_p = sign_flip_minimum(interval.n)
    if interval.n > 1:
        equal = equal_p if interval.mean else 1.0
        p_value = paired_t(differences) if interval.sd else equal
    return _from_interval(interval, p=p_value, equal_p=equal_p, p_sign_flip=p_sign_flip, p_minimum=minimum, note=note)


def _one_sided_t(claim: dict, differences: list[float]) -> float:
    """One-sided p, small when the mean lies below +margin (less) or above -margin (greater): half of TOST.

    Differences that are all equal: as `tost`, 2^-n if they lie on the claimed side of the margin, else 1.
    """
    toward = np.asarray(differences) * (1 if claim["direction"] == "less" else -1)
    if np.all(toward == toward[0]):
        return 2.0 ** -len(toward) if toward[0] < claim["margin"] else 1.0
    return float(stats.ttest_1samp(toward, claim["margin"], alternative="less").pvalue)


def _from_interval(interval: Interval, name: str = "95 % t interval", equal_p: float | None = None, **rest) -> Finding:
    """equal_p: the smallest p that equal values can have; other values leave the t test without a limit."""
    if interval.sd:
        ends = {"low": interval.low, "high": interval.high, "interval": name}
        return Finding(n=interval.n, effect=interval.mean, sd=interval.sd, **ends, **rest)
    # A zero sd says that the values are equal so far, not that the interval has no width.
    units = f"at n = {interval.n}"
    return Finding(n=interval.n, effect=interval.mean, sd=interval.sd, reach=equal_p, units=units, **rest)
