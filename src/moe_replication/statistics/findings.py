"""What the runs say about one claim: effect, interval and uncorrected p, by the rules of claims.py."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from moe_replication.statistics.compare import paired, seed_values, sign_flip_beside
from moe_replication.statistics.exact_tests import sign_test, stratified_fisher, stratified_permutation
from moe_replication.statistics.hypothesis_tests import ALPHA, paired_t, sign_flip_minimum, tost
from moe_replication.statistics.intervals import (
    Interval,
    clopper_pearson,
    paired_interval,
    prediction_interval,
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the runs say about one claim before its family is known.

    Threshold claims: effect is the mean, distance how far it is from the threshold, in logarithms where they are taken.
    Bound claims: effect is the rate of `broken` runs, worst the value furthest towards or beyond the bound.
    Groups: effect is the difference within data sets, sizes and means those of each group (for Fisher's test the mean
    is the share of runs above the threshold). Sign: effect is the share above the threshold of the n runs off it,
    distance how far it is from a half, ties how many runs lie on it.
    """

    n: int = 0
    effect: float | None = None
    distance: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_sign_flip: float | None = None
    p_minimum: float | None = None
    note: str = ""
    unpaired: int = 0
    broken: int = 0
    worst: float | None = None
    sizes: tuple[int, int] = (0, 0)
    means: tuple[float, float] = (0.0, 0.0)
    ties: int = 0
    missing: str = ""


def measure(claim: dict, runs: pl.DataFrame, curves: pl.DataFrame) -> Finding:
    """Effect, interval and uncorrected p of one claim."""
    paper, metric, conditions = claim["paper"], claim["metric"], claim["conditions"]
    table, when = runs, ""
    if "epoch" in claim:
        table, when = curves.filter(epoch=claim["epoch"]), f" at epoch {claim['epoch']:g}"
    if claim["comparison"] == "groups":
        return _measure_groups(claim, runs, table, when)
    values = {name: seed_values(table, paper, name, metric) for name in conditions}
    for name, found in values.items():
        if not found:
            present = not runs.filter(paper=paper, condition=name).is_empty()
            return Finding(missing=f"{metric} is not measured{when} in {name}" if present else f"no run of {name}")
    if claim["comparison"] in ("bound", "sign"):
        measure_all = _measure_bound if claim["comparison"] == "bound" else _measure_sign
        return measure_all(claim, [value for found in values.values() for value in found.values()])
    if claim["comparison"] == "value":
        return _from_interval(prediction_interval(list(values[conditions[0]].values())))
    if claim["comparison"] == "threshold":
        return _measure_threshold(claim, list(values[conditions[0]].values()))
    columns = paired(*(values[name] for name in conditions))
    if not columns[0]:
        return Finding(missing=f"{' and '.join(conditions)} have no seed in common")
    unpaired = sum(len(found) for found in values.values()) - len(conditions) * len(columns[0])
    first, second = columns if len(columns) == 2 else (_minus(*columns[:2]), _minus(*columns[2:]))
    return _measure_pairs(claim, first, second, unpaired)


def _measure_bound(claim: dict, values: list[float]) -> Finding:
    below = claim["direction"] == "less"
    broken = sum(value > claim["paper_value"] if below else value < claim["paper_value"] for value in values)
    low, high = clopper_pearson(broken, len(values))
    worst = max(values) if below else min(values)
    return Finding(n=len(values), effect=broken / len(values), low=low, high=high, broken=broken, worst=worst)


def _measure_sign(claim: dict, values: list[float]) -> Finding:
    test = sign_test([value - claim["threshold"] for value in values])
    n, share, low, high = test.above + test.below, None, None, None
    if n:
        share, (low, high) = test.above / n, clopper_pearson(test.above, n)
    return Finding(
        n=n,
        effect=share,
        distance=share - 0.5 if n else None,
        low=low,
        high=high,
        p=test.p,
        p_minimum=test.minimum,
        ties=test.zeros,
        note=_limit_note(test.minimum),
    )


def _measure_groups(claim: dict, runs: pl.DataFrame, table: pl.DataFrame, when: str) -> Finding:
    by_set: dict[str | None, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    absent, empty = [], ""
    for side, names in enumerate((claim["conditions"], claim["against"])):
        found = {name: seed_values(table, claim["paper"], name, claim["metric"]) for name in names}
        absent += [name for name in names if not found[name]]
        if not any(found.values()):
            empty = empty or f"no run of {', '.join(names)} measured {claim['metric']}{when}"
        for name, values in found.items():
            sets = seed_values(runs, claim["paper"], name, "dataset")
            for seed, value in values.items():
                by_set[sets.get(seed)][side].append(value)
    strata = [pair for pair in by_set.values() if all(pair)]
    if not strata:
        return Finding(missing=empty or "no data set has runs of both groups")
    lone = {str(name): len(first) + len(second) for name, (first, second) in by_set.items() if not (first and second)}
    notes = []
    if absent:
        notes.append(f"left out, not run or not measured here: {', '.join(absent)}")
    if lone:
        notes.append(f"left out, as only one group has runs on {', '.join(lone)}: {sum(lone.values())} run(s)")
    return _compare_groups(claim, strata, notes)


def _compare_groups(claim: dict, strata: list[tuple[list[float], list[float]]], notes: list[str]) -> Finding:
    fisher = claim["test"] == "fisher"
    if fisher:
        limit = claim.get("threshold", 0)
        strata = [tuple([value > limit for value in group] for group in pair) for pair in strata]
    groups = [[value for pair in strata for value in pair[side]] for side in (0, 1)]
    test = stratified_fisher(strata) if fisher else stratified_permutation(strata)
    if fisher:
        notes = [_odds_note(test.odds_ratio), *_clean_notes(groups), *notes]
    return Finding(
        n=sum(map(len, groups)),
        effect=test.difference,
        p=test.p,
        p_minimum=test.minimum,
        sizes=tuple(map(len, groups)),
        means=tuple(sum(group) / len(group) for group in groups),
        note="; ".join(filter(None, [_limit_note(test.minimum), *notes])),
    )


def _limit_note(minimum: float) -> str:
    return f"cannot reach alpha = {ALPHA:g} with these runs, smallest p {minimum:.3g}" if minimum >= ALPHA else ""


def _odds_note(odds_ratio: float | None) -> str:
    return "odds ratio undefined" if odds_ratio is None else f"odds ratio {odds_ratio:.3g} (Mantel-Haenszel)"


def _clean_notes(groups: list[list[bool]]) -> list[str]:
    """What no event in a group's runs still allows."""
    return [
        f"none in the {name} group's {len(group)} run(s) still allows a rate up to "
        f"{100 * clopper_pearson(0, len(group))[1]:.3g} % (Clopper-Pearson 95 % upper bound)"
        for name, group in zip(("first", "second"), groups, strict=True)
        if not any(group)
    ]


def _measure_threshold(claim: dict, values: list[float]) -> Finding:
    numbers, limit = values, claim["threshold"]
    if claim.get("logarithmic"):
        numbers, limit = [math.log(value) for value in values], math.log(limit)
    found = _measure_pairs(claim | {"comparison": "ordering"}, numbers, [limit] * len(numbers), 0)
    back = math.exp if claim.get("logarithmic") else float
    effect, low, high = (None if end is None else back(limit + end) for end in (found.effect, found.low, found.high))
    return dataclasses.replace(found, effect=effect, distance=found.effect, low=low, high=high)


def _minus(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(first, second, strict=True)]


def _measure_pairs(claim: dict, first: list[float], second: list[float], unpaired: int) -> Finding:
    differences = _minus(first, second)
    if claim["comparison"] == "difference":
        return _from_interval(prediction_interval(differences), unpaired=unpaired)
    interval, p_value = paired_interval(first, second), None
    if claim["comparison"] == "equivalence":
        p_value = tost(differences, claim["margin"]) if interval.n > 1 else None
        return _from_interval(interval, p=p_value, unpaired=unpaired)
    p_sign_flip, note = sign_flip_beside(first, second)
    minimum = None if p_sign_flip is None else sign_flip_minimum(interval.n)
    if interval.n > 1:
        p_value = paired_t(differences) if interval.sd else _equal_differences_p(interval)
    return _from_interval(interval, p=p_value, p_sign_flip=p_sign_flip, p_minimum=minimum, note=note, unpaired=unpaired)


def _from_interval(interval: Interval, **rest) -> Finding:
    # A zero sd says that the values are equal so far, not that the interval has no width.
    low, high = (interval.low, interval.high) if interval.sd else (None, None)
    return Finding(n=interval.n, effect=interval.mean, sd=interval.sd, low=low, high=high, **rest)


def _equal_differences_p(interval: Interval) -> float:
    return sign_flip_minimum(interval.n) if interval.mean else 1.0
