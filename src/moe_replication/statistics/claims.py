"""Verdicts on the papers' claims: reproduced, contradicted, inconclusive, untestable, not_run.

untestable: the claim's `scales` leave this scale out.
not_run: a condition has no run here, or its runs did not measure the metric.
ordering: reproduced when the 95 % t interval of the paired difference (first minus second, over common
    seeds) lies wholly on the claimed side and the paired t test's p, Holm-corrected over the family, is
    below 0.05; contradicted when both hold on the other side; else inconclusive.
    Four conditions compare two differences: (first - second) - (third - fourth), over seeds that have all four.
threshold: a mean against a number, judged like an ordering by the one-sample t test; `logarithmic` takes logarithms
    first, for ratios.
equivalence: reproduced when the TOST p at the margin, Holm-corrected, is below 0.05; contradicted when twice the
    one-sided p for a mean beyond the margin (a 95 % interval wholly beyond it), Holm-corrected, is; else inconclusive.
at_most: first minus second lies below +margin (direction less) or above -margin (greater). Reproduced when the
    one-sided paired t test at the margin has a Holm-corrected p below 0.05; contradicted when twice the p for a mean
    beyond the margin, Holm-corrected, is; else inconclusive.
bound: contradicted when any run breaks the bound; reproduced when none does and the upper end of the two-sided 95 %
    Clopper-Pearson interval of the rate of breaking runs is below the margin; else inconclusive.
value, difference: the paper's single number against our 95 % prediction interval for one new run (or pair);
    reproduced when the interval lies wholly within the margin of the number, contradicted when wholly
    beyond, else inconclusive.
groups: all runs of `conditions` against all runs of `against`, whatever their seed, compared within data sets.
    permutation: weighted difference in means; fisher: difference in the share of runs above `threshold` (0). p is the
    larger of the exact two-sided p over runs and that of the permutation test over conditions, by their means or by
    their shares of runs above the threshold. Reproduced when p, Holm-corrected, is below 0.05 and the difference lies
    on the claimed side; contradicted on the other side; else inconclusive. Conditions without a run or value here, and
    data sets with runs of one group only, are left out and named; a group without any is not_run.
sign: the runs of all conditions, pooled, above or below `threshold`; judged likewise by the exact sign test, over runs
    and over the conditions' medians, what lies on the threshold dropped.
groups and sign are tested over runs alone where each side is one condition.

An ordering's hypothesis is that the conditions do not differ, under which a seed's values may change places and the
difference is symmetric about zero, whatever its shape. No such symmetry holds about a threshold or margin, and counts
are skewed: there counts of experts must pass the t test and, from their range alone, the test of bounded.py; the larger
p counts (margins.py). p of an equivalence or at_most is that of the side of the margin on which the effect lies; such a
claim stays in the count of its family when it has passed, since one of its two hypotheses is true in any case.

One run or pair is inconclusive, except that one run can break a bound. Values that are all equal leave an interval
without width and a t test without a scale: an ordering rests on the exact sign-flip test then, a count beside a
threshold or margin on its range, other metrics there are inconclusive, and value and difference rest on the range of
the runs, which holds a new one with 95 % only from n = 39. A test whose smallest p at these n, times the size of the
family, is not below 0.05 says so where it is inconclusive.

What is inconclusive says what would settle it, were what was seen so far the truth (needed.py). Power is that of the
claim's test at this n and at alpha divided by the size of the family, at the paper's difference where the claim gives
one and at a stated alternative else (claim_power.py). p_paper is corrected over all tests of the paper, not only the
family's. None of these takes part in the verdict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.claim_power import ClaimPower, claim_power
from moe_replication.statistics.finding import Finding
from moe_replication.statistics.findings import measure
from moe_replication.statistics.hypothesis_tests import ALPHA, holm
from moe_replication.statistics.margins import AT_MARGIN
from moe_replication.statistics.needed import RANGE_N, side, what_settles
from moe_replication.statistics.wording import evidence, sentence

UNJUDGED = ("untestable", "not_run")
VERDICTS = ("reproduced", "contradicted", "inconclusive", *UNJUDGED)
SAME_CLAIM, PAPER_CELL = "same claim at our scale", "the paper's cell"
KINDS = {
    "ordering": SAME_CLAIM,
    "threshold": SAME_CLAIM,
    "equivalence": SAME_CLAIM,
    "at_most": SAME_CLAIM,
    "bound": SAME_CLAIM,
    "groups": SAME_CLAIM,
    "sign": SAME_CLAIM,
    "value": PAPER_CELL,
    "difference": PAPER_CELL,
}


def judge(
    claims: Sequence[dict], runs: pl.DataFrame, curves: pl.DataFrame, scale: str, analysis: AnalysisSettings
) -> list[dict]:
    """One entry of scorecard.json per claim, in order; `runs` and `curves` as collected there."""
    findings = [measure(claim, runs, curves, analysis) if scale in claim["scales"] else None for claim in claims]
    families: dict[tuple[str, str], list[int]] = defaultdict(list)
    papers: dict[str, list[int]] = defaultdict(list)
    for index, (claim, finding) in enumerate(zip(claims, findings, strict=True)):
        if finding is not None and finding.p is not None:
            families[claim["paper"], claim["family"]].append(index)
            papers[claim["paper"]].append(index)
    kept = [claim["comparison"] in AT_MARGIN for claim in claims]
    in_family, in_paper = ({}, {})
    for groups, corrected in ((families, in_family), (papers, in_paper)):
        for members in groups.values():
            p_values = holm([findings[i].p for i in members], [kept[i] for i in members])
            corrected.update((index, (p, len(members))) for index, p in zip(members, p_values, strict=True))
    entries = []
    for index, (claim, finding) in enumerate(zip(claims, findings, strict=True)):
        p_paper, _ = in_paper.get(index, (None, 0))
        entries.append(_entry(claim, finding, scale, analysis, *in_family.get(index, (None, 1)), p_paper))
    return entries


def decide(claim: dict, finding: Finding, p_corrected: float | None) -> str:
    """The verdict, by the rules above."""
    if finding.missing:
        return "not_run"
    if claim["comparison"] == "bound":
        if finding.broken:
            return "contradicted"
        return "reproduced" if finding.high < claim["margin"] else "inconclusive"
    if claim["comparison"] in ("groups", "sign"):
        return _decide_side(claim, finding, p_corrected)
    if finding.n < 2:
        return "inconclusive"
    if claim["comparison"] in ("ordering", "threshold"):
        return _decide_side(claim, finding, p_corrected)
    if claim["comparison"] in AT_MARGIN:
        return _decide_at_margin(finding, p_corrected)
    return _decide_cell(claim, finding)


def _decide_side(claim: dict, finding: Finding, p_corrected: float) -> str:
    if p_corrected < ALPHA:
        return side(claim, finding.effect if finding.distance is None else finding.distance)
    return "inconclusive"


def _decide_at_margin(finding: Finding, p_corrected: float) -> str:
    if p_corrected < ALPHA:
        return "contradicted" if finding.beyond else "reproduced"
    return "inconclusive"


def _decide_cell(claim: dict, finding: Finding) -> str:
    low, high = finding.low, finding.high
    if not finding.sd:
        if finding.n < RANGE_N:
            return "inconclusive"
        low = high = finding.effect
    nearest, furthest = claim["paper_value"] - claim["margin"], claim["paper_value"] + claim["margin"]
    if nearest <= low and high <= furthest:
        return "reproduced"
    return "contradicted" if low > furthest or high < nearest else "inconclusive"


def _entry(
    claim: dict,
    finding: Finding | None,
    scale: str,
    analysis: AnalysisSettings,
    p_corrected: float | None,
    family_size: int,
    p_paper: float | None,
) -> dict:
    if finding is None:
        verdict, finding, power = "untestable", Finding(), ClaimPower(reason="not judged at this scale")
    else:
        verdict = decide(claim, finding, p_corrected)
        power = claim_power(claim, finding, ALPHA / family_size, scale, analysis)
    needed = what_settles(claim, finding, family_size) if verdict == "inconclusive" else None
    return {
        "id": claim["id"],
        "paper": claim["paper"],
        "scale": scale,
        "place": claim["place"],
        "claim": claim["statement"],
        "kind": KINDS[claim["comparison"]],
        "comparison": claim["comparison"],
        "test": claim["test"],
        "metric": claim["metric"],
        "epoch": claim.get("epoch"),
        "conditions": claim["conditions"],
        "against": claim.get("against"),
        "verdict": verdict,
        "effect": finding.effect,
        "ci_low": finding.low,
        "ci_high": finding.high,
        "interval": finding.interval,
        "logarithmic": claim.get("logarithmic", False),
        "sd": finding.sd,
        "sd_unit": None if finding.sd is None else _sd_unit(claim),
        "n": finding.n,
        "n_needed": needed.n if needed else None,
        "n_needed_of": needed.of if needed else None,
        "power": power.power,
        "power_at": power.at,
        "power_reason": power.reason,
        "detectable": power.detectable,
        "n_needed_paper": power.needed_paper,
        "p": finding.p,
        "p_corrected": p_corrected,
        "p_paper": p_paper,
        "family": claim.get("family"),
        "p_sign_flip": finding.p_sign_flip,
        "p_minimum": finding.p_minimum,
        "note": finding.note,
        "paper_value": claim.get("paper_value"),
        "threshold": claim.get("threshold"),
        "margin": claim.get("margin"),
        "margin_origin": claim.get("margin_origin"),
        "sentence": sentence(claim, finding, verdict, scale),
        "evidence": evidence(claim, finding, p_corrected, family_size, needed, power),
        "figures": claim["figures"],
    }


def _sd_unit(claim: dict) -> str:
    return "natural logarithm of the metric" if claim.get("logarithmic") else "the metric's own"
