"""What the runs say about one claim: effect, interval and uncorrected p, by the rules of claims.py."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.bounded import Range, count_range, difference_range
from moe_replication.statistics.claim_power import WITH_PAPER
from moe_replication.statistics.compare import paired, seed_values, sign_flip_beside
from moe_replication.statistics.finding import Finding
from moe_replication.statistics.hypothesis_tests import paired_t, sign_flip_minimum
from moe_replication.statistics.intervals import (
    Interval,
    clopper_pearson,
    mean_interval,
    paired_interval,
    prediction_interval,
)
from moe_replication.statistics.margins import AT_MARGIN, beyond_p, room, within_p
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
        found = Finding(missing=missing) if missing else _measure_values(claim, values, _ranges(claim, runs))
    total = runs.filter(pl.col("paper") == claim["paper"], pl.col("condition").is_in(names)).height
    valueless = max(0, total - sum(map(len, values.values())))
    return dataclasses.replace(found, valueless=valueless, paper_difference=_paper_difference(claim, runs))


def _paper_difference(claim: dict, runs: pl.DataFrame) -> float | None:
    """First minus second, or value minus threshold, in the paper; epochs as the same part of our horizon."""
    value = claim.get("paper_value") if claim["comparison"] in WITH_PAPER else None
    if value is None:
        return None
    if claim["comparison"] == "threshold":
        ends = (value, claim["threshold"])
        return math.log(ends[0] / ends[1]) if claim.get("logarithmic") else ends[0] - ends[1]
    if "paper_epochs" not in claim:
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


def _ranges(claim: dict, runs: pl.DataFrame) -> list[Range | None]:
    """The range of the metric in each condition, of counts."""
    experts = [seed_values(runs, claim["paper"], name, "experts").values() for name in claim["conditions"]]
    return [count_range(claim["metric"], max(known, default=None)) for known in experts]


def _measure_values(claim: dict, values: dict[str, dict[int, float]], ranges: list[Range | None]) -> Finding:
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
        return _measure_threshold(claim, first, ranges[0])
    common = paired(*values.values())
    if not common[0]:
        return Finding(missing=f"{' and '.join(values)} have no seed in common")
    unpaired = sum(map(len, columns.values())) - len(columns) * len(common[0])
    ends = common if len(common) == 2 else (_minus(*common[:2]), _minus(*common[2:]))
    return dataclasses.replace(_measure_pairs(claim, *ends, difference_range(ranges)), unpaired=unpaired)


def _measure_bound(claim: dict, values: list[float]) -> Finding:
    below = claim["direction"] == "less"
    broken = sum(value > claim["paper_value"] if below else value < claim["paper_value"] for value in values)
    low, high = clopper_pearson(broken, len(values))
    worst = max(values) if below else min(values)
    return Finding(
        n=len(values), effect=broken / len(values), low=low, high=high, interval=OF_A_RATE, broken=broken, worst=worst
    )


def _measure_threshold(claim: dict, values: list[float], limits: Range | None) -> Finding:
    numbers, limit = values, claim["threshold"]
    if claim.get("logarithmic"):
        numbers, limit = [math.log(value) for value in values], math.log(limit)
    distances = [number - limit for number in numbers]
    found = _beside_limit(claim, distances, limits and (limits[0] - limit, limits[1] - limit))
    back = math.exp if claim.get("logarithmic") else float
    effect, low, high = (None if end is None else back(limit + end) for end in (found.effect, found.low, found.high))
    return dataclasses.replace(found, effect=effect, distance=found.effect, low=low, high=high)


def _minus(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(first, second, strict=True)]


def _measure_pairs(claim: dict, first: list[float], second: list[float], limits: Range | None) -> Finding:
    differences = _minus(first, second)
    if claim["comparison"] == "difference":
        return _from_interval(prediction_interval(differences), "95 % prediction interval")
    if claim["comparison"] in AT_MARGIN:
        return _beside_limit(claim, differences, limits)
    interval, p_value, equal_p = paired_interval(first, second), None, sign_flip_minimum(len(differences))
    p_sign_flip, note = sign_flip_beside(first, second)
    minimum = None if p_sign_flip is None else equal_p
    if interval.n > 1:
        equal = equal_p if interval.mean else 1.0
        p_value = paired_t(differences) if interval.sd else equal
    reach = None if interval.sd else equal_p
    return _from_interval(interval, p=p_value, reach=reach, p_sign_flip=p_sign_flip, p_minimum=minimum, note=note)


def _beside_limit(claim: dict, values: list[float], limits: Range | None) -> Finding:
    """Values held against a margin, or distances against zero, by the test for the side that their mean lies on."""
    interval, found = mean_interval(values), {}
    if interval.n > 1:
        beyond = claim["comparison"] in AT_MARGIN and bool(room(claim, interval.mean) < 0)
        test = beyond_p if beyond else within_p
        found = {"p": float(test(claim, values, limits)), "beyond": beyond, "values": tuple(values), "limits": limits}
        if limits is not None and all(map(math.isfinite, limits)):
            found["reach"] = min(float(test(claim, [end] * interval.n, limits)) for end in (*limits, 0.0))
    return _from_interval(interval, **found)


def _from_interval(interval: Interval, name: str = "95 % t interval", **rest) -> Finding:
    shared = {"n": interval.n, "effect": interval.mean, "sd": interval.sd, "units": f"at n = {interval.n}"}
    if interval.sd:
        return Finding(**shared, low=interval.low, high=interval.high, interval=name, **rest)
    # A zero sd says that the values are equal so far, not that the interval has no width.
    return Finding(**shared, **rest)
