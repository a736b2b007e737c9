"""Verdicts on the papers' claims: reproduced, contradicted, inconclusive, untestable, not_run.

untestable: the claim's `scales` leave this scale out.
not_run: a condition has no run here, or its runs did not measure the metric.
ordering: reproduced when the 95 % t interval of the paired difference (first minus second, over common
    seeds) lies wholly on the claimed side and the paired t test's p, Holm-corrected over the family, is
    below 0.05; contradicted when both hold on the other side; else inconclusive, with the number of seeds
    that would settle it at the observed effect and sd.
    Four conditions compare two differences: (first - second) - (third - fourth), over seeds that have all four.
threshold: a mean against a number, judged like an ordering by the one-sample t test; `logarithmic` takes logarithms
    first, for ratios.
equivalence: reproduced when the TOST p at the margin, Holm-corrected, is below 0.05; contradicted when the
    95 % interval lies wholly beyond the margin (not corrected); else inconclusive.
bound: contradicted when any run breaks the bound; reproduced when none does and the Clopper-Pearson 95 %
    upper bound of the rate of breaking runs is below the margin; else inconclusive.
value, difference: the paper's single number against our 95 % prediction interval for one new run (or pair);
    reproduced when the interval lies wholly within the margin of the number, contradicted when wholly
    beyond, else inconclusive.

One run or pair is inconclusive, except that one run can break a bound. Values that are all equal leave an
interval without width; then ordering and equivalence rest on the exact sign-flip test, value and difference
on the range of the runs, which holds a new one with 95 % only from n = 39.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from moe_replication.statistics.compare import paired, seed_values, sign_flip_beside
from moe_replication.statistics.hypothesis_tests import ALPHA, holm, paired_t, sign_flip_minimum, tost
from moe_replication.statistics.intervals import (
    Interval,
    clopper_pearson,
    paired_interval,
    prediction_interval,
)
from moe_replication.statistics.power import needed_n, needed_n_bound, needed_n_equivalence
from moe_replication.statistics.wording import evidence, sentence

VERDICTS = ("reproduced", "contradicted", "inconclusive", "untestable", "not_run")
SAME_CLAIM, PAPER_CELL = "same claim at our scale", "the paper's cell"
KINDS = {
    "ordering": SAME_CLAIM,
    "threshold": SAME_CLAIM,
    "equivalence": SAME_CLAIM,
    "bound": SAME_CLAIM,
    "value": PAPER_CELL,
    "difference": PAPER_CELL,
}
# The range of n values holds one more with probability (n - 1)/(n + 1): 0.95 at n = 39.
RANGE_N = 39


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the runs say about one claim before its family is known.

    Threshold claims: effect is the mean, distance how far it is from the threshold, in logarithms where they are taken.
    Bound claims: effect is the rate of `broken` runs, worst the value furthest towards or beyond the bound.
    """

    n: int = 0
    effect: float | None = None
    distance: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_sign_flip: float | None = None
    note: str = ""
    unpaired: int = 0
    broken: int = 0
    worst: float | None = None
    missing: str = ""


def judge(claims: Sequence[dict], runs: pl.DataFrame, curves: pl.DataFrame, scale: str) -> list[dict]:
    """One entry of scorecard.json per claim, in order; `runs` and `curves` as collected there."""
    findings = [measure(claim, runs, curves) if scale in claim["scales"] else None for claim in claims]
    families: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, (claim, finding) in enumerate(zip(claims, findings, strict=True)):
        if finding is not None and finding.p is not None:
            families[claim["paper"], claim["family"]].append(index)
    corrected: dict[int, tuple[float, int]] = {}
    for members in families.values():
        for index, p_value in zip(members, holm([findings[i].p for i in members]), strict=True):
            corrected[index] = (p_value, len(members))
    return [
        _entry(claim, finding, scale, *corrected.get(index, (None, 1)))
        for index, (claim, finding) in enumerate(zip(claims, findings, strict=True))
    ]


def measure(claim: dict, runs: pl.DataFrame, curves: pl.DataFrame) -> Finding:
    """Effect, interval and uncorrected p of one claim."""
    paper, metric, conditions = claim["paper"], claim["metric"], claim["conditions"]
    table, when = runs, ""
    if "epoch" in claim:
        table, when = curves.filter(epoch=claim["epoch"]), f" at epoch {claim['epoch']:g}"
    values = {name: seed_values(table, paper, name, metric) for name in conditions}
    for name, found in values.items():
        if not found:
            present = not runs.filter(paper=paper, condition=name).is_empty()
            return Finding(missing=f"{metric} is not measured{when} in {name}" if present else f"no run of {name}")
    if claim["comparison"] == "bound":
        return _measure_bound(claim, [value for found in values.values() for value in found.values()])
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


def decide(claim: dict, finding: Finding, p_corrected: float | None, family_size: int) -> tuple[str, int | None]:
    """Verdict and, where inconclusive, how many runs or pairs would settle it (None: no such number)."""
    if finding.missing:
        return "not_run", None
    if claim["comparison"] == "bound":
        if finding.broken:
            return "contradicted", None
        settled = finding.high < claim["margin"]
        return ("reproduced", None) if settled else ("inconclusive", needed_n_bound(claim["margin"]))
    if finding.n < 2:
        return "inconclusive", None
    if claim["comparison"] in ("ordering", "threshold"):
        return _decide_ordering(claim, finding, p_corrected, ALPHA / family_size)
    if claim["comparison"] == "equivalence":
        return _decide_equivalence(claim, finding, p_corrected, ALPHA / family_size)
    return _decide_cell(claim, finding)


def _measure_bound(claim: dict, values: list[float]) -> Finding:
    below = claim["direction"] == "less"
    broken = sum(value > claim["paper_value"] if below else value < claim["paper_value"] for value in values)
    low, high = clopper_pearson(broken, len(values))
    worst = max(values) if below else min(values)
    return Finding(n=len(values), effect=broken / len(values), low=low, high=high, broken=broken, worst=worst)


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
    if interval.n > 1:
        p_value = paired_t(differences) if interval.sd else _equal_differences_p(interval)
    return _from_interval(interval, p=p_value, p_sign_flip=p_sign_flip, note=note, unpaired=unpaired)


def _from_interval(interval: Interval, **rest) -> Finding:
    # A zero sd says that the values are equal so far, not that the interval has no width.
    low, high = (interval.low, interval.high) if interval.sd else (None, None)
    return Finding(n=interval.n, effect=interval.mean, sd=interval.sd, low=low, high=high, **rest)


def _decide_ordering(claim: dict, finding: Finding, p_corrected: float, alpha: float) -> tuple[str, int | None]:
    distance = finding.effect if finding.distance is None else finding.distance
    claimed_side = (distance < 0) == (claim["direction"] == "less")
    if p_corrected < ALPHA:
        return ("reproduced" if claimed_side else "contradicted"), None
    if finding.sd:
        return "inconclusive", needed_n(distance, finding.sd, alpha)
    return "inconclusive", _needed_sign_flips(alpha) if distance else None


def _decide_equivalence(claim: dict, finding: Finding, p_corrected: float, alpha: float) -> tuple[str, int | None]:
    if p_corrected < ALPHA:
        return "reproduced", None
    margin = claim["margin"]
    if finding.sd:
        beyond = finding.low > margin or finding.high < -margin
        needed = needed_n_equivalence(finding.effect, finding.sd, margin, alpha)
    else:
        beyond = abs(finding.effect) > margin and sign_flip_minimum(finding.n) < ALPHA
        needed = _needed_sign_flips(alpha)
    return ("contradicted", None) if beyond else ("inconclusive", needed)


def _decide_cell(claim: dict, finding: Finding) -> tuple[str, int | None]:
    low, high = finding.low, finding.high
    if not finding.sd:
        if finding.n < RANGE_N:
            return "inconclusive", RANGE_N
        low = high = finding.effect
    nearest, furthest = claim["paper_value"] - claim["margin"], claim["paper_value"] + claim["margin"]
    if nearest <= low and high <= furthest:
        return "reproduced", None
    return ("contradicted" if low > furthest or high < nearest else "inconclusive"), None


def _equal_differences_p(interval: Interval) -> float:
    return sign_flip_minimum(interval.n) if interval.mean else 1.0


def _needed_sign_flips(alpha: float) -> int:
    return next(n for n in range(2, 64) if sign_flip_minimum(n) < alpha)


def _entry(claim: dict, finding: Finding | None, scale: str, p_corrected: float | None, family_size: int) -> dict:
    if finding is None:
        verdict, needed, finding = "untestable", None, Finding()
    else:
        verdict, needed = decide(claim, finding, p_corrected, family_size)
    return {
        "id": claim["id"],
        "paper": claim["paper"],
        "place": claim["place"],
        "claim": claim["statement"],
        "kind": KINDS[claim["comparison"]],
        "comparison": claim["comparison"],
        "metric": claim["metric"],
        "epoch": claim.get("epoch"),
        "conditions": claim["conditions"],
        "verdict": verdict,
        "effect": finding.effect,
        "ci_low": finding.low,
        "ci_high": finding.high,
        "sd": finding.sd,
        "n": finding.n,
        "n_needed": needed,
        "p": finding.p,
        "p_corrected": p_corrected,
        "family": claim.get("family"),
        "p_sign_flip": finding.p_sign_flip,
        "p_minimum": None if finding.p_sign_flip is None else sign_flip_minimum(finding.n),
        "note": finding.note,
        "paper_value": claim.get("paper_value"),
        "threshold": claim.get("threshold"),
        "margin": claim.get("margin"),
        "margin_origin": claim.get("margin_origin"),
        "sentence": sentence(claim, finding, verdict, scale),
        "evidence": evidence(claim, finding, verdict, p_corrected, family_size, needed),
        "figures": claim["figures"],
    }
