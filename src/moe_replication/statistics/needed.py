"""What would settle an inconclusive claim, were what was seen so far the truth: effect, sd and shares as they are.

Test by test: tests at alpha over the size of the family with 80 % power, those of counts from their range and intervals
where they fall for certain.
"""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.statistics.finding import Finding
from moe_replication.statistics.hypothesis_tests import ALPHA, sign_flip_minimum
from moe_replication.statistics.margins import AT_MARGIN, needed_by_range, room
from moe_replication.statistics.power import (
    MAX_N,
    needed_n,
    needed_n_bound,
    needed_n_equivalence,
    needed_n_one_sided,
    needed_n_prediction,
)
from moe_replication.statistics.replicated import MAX_FOLD, needed_fold, needed_signs
from moe_replication.statistics.wording import number, unit

# The range of n values holds one more with probability (n - 1)/(n + 1): 0.95 at n = 39.
RANGE_N = 39


@dataclass(frozen=True, kw_only=True)
class Needed:
    """n: how many in all, None where no number (up to 10,000, or 100 times what there is) would do; of what; and why
    in a sentence."""

    n: int | None
    of: str
    text: str


def what_settles(claim: dict, finding: Finding, family_size: int) -> Needed:
    """Of an inconclusive claim: how many runs, pairs or conditions like these would settle it, and as what."""
    comparison, alpha = claim["comparison"], ALPHA / family_size
    if comparison == "bound":
        needed = needed_n_bound(claim["margin"])
        return Needed(n=needed, of="runs", text=f"{needed} runs without a counter-example would settle it.")
    if comparison == "groups":
        return _groups(claim, finding, alpha)
    if comparison == "sign":
        return _sign(claim, finding, alpha)
    of = f"{unit(claim)}s"
    if finding.n < 2:
        return Needed(n=None, of=of, text="One value has no spread: run at least two seeds.")
    if comparison in ("value", "difference"):
        return _cell(claim, finding, of)
    if comparison == "ordering":
        return _ordering(claim, finding, of, alpha)
    if comparison == "threshold":
        return _threshold(claim, finding, of, alpha)
    return _at_margin(claim, finding, of, alpha)


def side(claim: dict, distance: float) -> str:
    """The verdict on a significant distance: reproduced on the claimed side."""
    return "reproduced" if (distance < 0) == (claim["direction"] == "less") else "contradicted"


def _ordering(claim: dict, finding: Finding, of: str, alpha: float) -> Needed:
    verdict = side(claim, finding.effect)
    if not finding.sd:
        return _equal(_flips(alpha) if finding.effect else None, of, verdict)
    return _by_power(needed_n(finding.effect, finding.sd, alpha), of, verdict)


def _threshold(claim: dict, finding: Finding, of: str, alpha: float) -> Needed:
    verdict = side(claim, finding.distance)
    if not finding.sd:
        return _equal_beside(claim, finding, of, verdict, alpha)
    return _by_power(_both(needed_n(finding.distance, finding.sd, alpha), claim, finding, alpha), of, verdict)


def _at_margin(claim: dict, finding: Finding, of: str, alpha: float) -> Needed:
    """By the test for the side of the margin that the effect lies on."""
    distance = float(room(claim, finding.effect))
    verdict = "reproduced" if distance > 0 else "contradicted"
    if not finding.sd:
        return _equal_beside(claim, finding, of, verdict, alpha)
    if finding.beyond:
        needed = needed_n_one_sided(-distance, finding.sd, alpha / 2)
    elif claim["comparison"] == "equivalence":
        needed = needed_n_equivalence(finding.effect, finding.sd, claim["margin"], alpha)
    else:
        needed = needed_n_one_sided(distance, finding.sd, alpha)
    return _by_power(_both(needed, claim, finding, alpha), of, verdict)


def _both(by_t: int | None, claim: dict, finding: Finding, alpha: float) -> int | None:
    """The n of both tests that a count must pass; that of the t test for other metrics."""
    if finding.limits is None or by_t is None:
        return by_t
    by_range = _by_range(claim, finding, alpha)
    return None if by_range is None else max(by_t, by_range)


def _by_range(claim: dict, finding: Finding, alpha: float) -> int | None:
    return needed_by_range(claim, finding.values, finding.limits, alpha, finding.beyond)


def _equal_beside(claim: dict, finding: Finding, of: str, verdict: str, alpha: float) -> Needed:
    if finding.limits is None:
        text = f"No number of {of} like these, all equal, would settle it: without a spread a t test has no scale."
        return Needed(n=None, of=of, text=text)
    one_sided = claim["comparison"] in AT_MARGIN and not finding.beyond
    needed = _by_range(claim, finding, alpha)
    return _equal(needed and max(needed, _flips(2 * alpha if one_sided else alpha)), of, verdict)


def _cell(claim: dict, finding: Finding, of: str) -> Needed:
    distance = finding.effect - claim["paper_value"]
    verdict = "reproduced" if abs(distance) < claim["margin"] else "contradicted"
    if not finding.sd:
        text = f"Equal values say too little about the next one: {RANGE_N} {of} would settle it as {verdict}."
        return Needed(n=RANGE_N, of=of, text=text)
    needed = needed_n_prediction(distance, finding.sd, claim["margin"])
    if needed is None:
        text = (
            f"No number of {of} would settle it at this mean and sd: a prediction interval is never narrower than "
            f"±1.96 sd = ±{number(1.96 * finding.sd)}, the spread of single values, which the margin cuts."
        )
    else:
        text = f"{needed} {of} would settle it as {verdict} at this mean and sd."
    return Needed(n=needed, of=of, text=text)


def _groups(claim: dict, finding: Finding, alpha: float) -> Needed:
    verdict = side(claim, finding.effect)
    fold, of = needed_fold(finding.strata, claim["test"] == "fisher", alpha) if finding.effect else (None, "seeds")
    if fold is None:
        text = f"Not even {MAX_FOLD} times as many {of} like these would settle it."
        return Needed(n=None, of="runs" if of == "seeds" else of, text=text)
    if of == "seeds":
        needed = fold * finding.n
        text = f"About {fold} times as many seeds like these, {needed} runs, would settle it as {verdict}."
        return Needed(n=needed, of="runs", text=text)
    needed = fold * sum(len(group) for pair in finding.strata for group in pair)
    text = (
        "More seeds of these conditions would not settle it, as p over conditions is too large: "
        f"about {fold} times as many conditions like these, {needed}, would, as {verdict}."
    )
    return Needed(n=needed, of="conditions", text=text)


def _sign(claim: dict, finding: Finding, alpha: float) -> Needed:
    needed, of = needed_signs(finding.above_of, alpha)
    if needed is None:
        why = "at the observed share" if finding.n else "while all lie on the threshold"
        return Needed(n=None, of=of, text=f"No number of {of} up to {MAX_N:,} would settle it {why}.")
    verdict = side(claim, finding.distance)
    text = f"About {needed} {of} off the threshold, at the observed share, would settle it as {verdict}."
    return Needed(n=needed, of=of, text=text)


def _by_power(needed: int | None, of: str, verdict: str) -> Needed:
    if needed is None:
        text = f"No number of {of} up to {MAX_N:,} would settle it at this effect and sd."
    else:
        text = f"About {needed} {of} would settle it as {verdict} at this effect and sd (80 % power)."
    return Needed(n=needed, of=of, text=text)


def _equal(needed: int | None, of: str, verdict: str) -> Needed:
    if needed is None:
        return Needed(n=None, of=of, text=f"No number of {of} like these, all equal, would settle it.")
    text = f"{needed} {of} like these, all equal, would settle it as {verdict}."
    return Needed(n=needed, of=of, text=text)


def _flips(alpha: float) -> int:
    return next(n for n in range(2, 64) if sign_flip_minimum(n) < alpha)
