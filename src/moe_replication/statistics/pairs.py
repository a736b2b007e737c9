"""Two conditions over paired seeds: which is lower, by how much, how sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from moe_replication.errors import BadInput
from moe_replication.statistics.collect import metric_columns
from moe_replication.statistics.compare import SCORED, paired, seed_values, sign_flip_beside
from moe_replication.statistics.hypothesis_tests import sign_flip_minimum
from moe_replication.statistics.intervals import Interval, paired_interval


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """First minus second of one metric; p: exact sign-flip test (None above its largest n), with its least value."""

    metric: str
    first: float
    second: float
    difference: Interval
    p: float | None
    p_minimum: float
    note: str


def common_paper(runs: pl.DataFrame, first: str, second: str) -> str:
    """The paper that both conditions have runs of; BadInput when there is none."""
    papers = [set(runs.filter(pl.col("condition") == name)["paper"]) for name in (first, second)]
    for name, found in zip((first, second), papers, strict=True):
        if not found:
            known = ", ".join(runs["condition"].unique().sort())
            raise BadInput(f"condition {name!r}: no run of it in runs.parquet; known: {known}")
    if not papers[0] & papers[1]:
        raise BadInput(f"conditions {first!r} and {second!r} are of different papers; compare two of one paper")
    return min(papers[0] & papers[1])


def paired_differences(
    runs: pl.DataFrame, paper: str, first: str, second: str, metric: str | None = None
) -> list[PairedDifference]:
    """`metric`, or the scored metrics that both measured, over the seeds that both have. BadInput when none is left."""
    if metric is not None and metric not in metric_columns(runs):
        raise BadInput(f"metric {metric!r}: no such column of runs.parquet; known: {', '.join(metric_columns(runs))}")
    found = []
    for name in SCORED if metric is None else (metric,):
        ours, theirs = paired(*(seed_values(runs, paper, condition, name) for condition in (first, second)))
        if ours:
            p_value, note = sign_flip_beside(ours, theirs)
            difference = paired_interval(ours, theirs)
            means = (sum(ours) / len(ours), sum(theirs) / len(theirs))
            found.append(
                PairedDifference(
                    metric=name, first=means[0], second=means[1], difference=difference, p=p_value,
                    p_minimum=sign_flip_minimum(difference.n), note=note,
                )
            )  # fmt: skip
    if not found:
        wanted: Sequence[str] = SCORED if metric is None else (metric,)
        raise BadInput(f"{first} and {second} have no seed in common that measured {' or '.join(wanted)}; train more")
    return found
