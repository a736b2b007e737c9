"""What the runs say about one claim before its family is known."""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.statistics.bounded import Range

# Of each data set, the values of the first and of the second group, one list a condition.
Conditions = list[tuple[list[list[float]], list[list[float]]]]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Effect, interval and uncorrected p of one claim.

    Threshold claims: effect is the mean, distance how far it is from the threshold; there, as for sd, logarithms count
    where they are taken. Bound claims: effect is the rate of `broken` runs, worst the value furthest towards or beyond
    the bound. Groups: effect is the difference within data sets, sizes and means those of each group (for Fisher's test
    the mean is the share of runs above the threshold), strata the values that were compared. Sign: effect is the share
    above the threshold of the n runs off it, distance how far it is from a half, ties how many runs lie on it,
    above_of (above, off the threshold) of the runs and, where there are several, of the conditions' medians.
    interval: what low and high are the ends of. paper_difference: the paper's, epochs as the same part of our horizon.
    p_minimum: the smallest p of the exact test shown (of the sign-flip test beside an ordering). reach: the smallest p
    that the test behind the verdict can have with `units`; None where it has no such limit.
    beyond: the effect lies beyond the margin, and p is that of the test for it. values: differences, or distances from
    the threshold, that a margin or threshold is held against; limits: the range that they cannot leave, of counts.
    unpaired: runs without a partner of their seed. valueless: runs of the conditions without a value of the metric.
    """

    n: int = 0
    effect: float | None = None
    distance: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    interval: str | None = None
    paper_difference: float | None = None
    p: float | None = None
    p_sign_flip: float | None = None
    p_minimum: float | None = None
    reach: float | None = None
    units: str = ""
    beyond: bool = False
    values: tuple[float, ...] = ()
    limits: Range | None = None
    note: str = ""
    unpaired: int = 0
    valueless: int = 0
    broken: int = 0
    worst: float | None = None
    sizes: tuple[int, int] = (0, 0)
    means: tuple[float, float] = (0.0, 0.0)
    strata: Conditions | None = None
    ties: int = 0
    above_of: tuple[tuple[int, int], ...] = ()
    missing: str = ""
