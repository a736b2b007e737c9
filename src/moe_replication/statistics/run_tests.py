"""Paper B's main questions over its runs and over its conditions: exact tests, bounds, and a mixed model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.collect import KEYS
from moe_replication.statistics.exact_tests import Strata, sign_test, stratified_fisher, stratified_permutation
from moe_replication.statistics.intervals import clopper_pearson
from moe_replication.statistics.mixed_logistic import mixed_logistic
from moe_replication.statistics.studies import meets, with_sets, without_cross
from moe_replication.statistics.trajectories import trajectories

COLUMNS = {
    "question": pl.String, "data": pl.String, "test": pl.String, "n": pl.Int64, "n_against": pl.Int64,
    "effect": pl.Float64, "measure": pl.String, "ci_low": pl.Float64, "ci_high": pl.Float64, "p": pl.Float64,
    "p_minimum": pl.Float64, "note": pl.String,
}  # fmt: skip
ALL = "all, stratified by data set"
TIERS = [8, 4, 4]  # the paper's main shape: dead experts of other shapes are counts of another kind


def run_tests(runs: pl.DataFrame, curves: pl.DataFrame, analysis: AnalysisSettings) -> pl.DataFrame:
    """One row a test (columns of COLUMNS) over paper B's runs with a census, those of `comparable` alone.

    n counts runs, of the tests over conditions conditions. p is two-sided and not corrected; the claims' verdicts are.
    """
    known, left_out = comparable(runs)
    if known.is_empty():
        return pl.DataFrame(schema=COLUMNS)
    side = [meets(control, analysis.rule_threshold) for control in known["control_number"]]
    known = known.with_columns(above=pl.Series(side), any_dead=(pl.col("dead_experts") > 0).cast(pl.Int64))
    rows = [
        *_group_rows(known, analysis.rule_threshold),
        *_bound_rows(known, analysis.rule_threshold),
        *_revival_rows(known, curves, analysis),
        *_mixed_rows(known, left_out),
    ]
    return pl.DataFrame(rows, schema=COLUMNS)


def comparable(runs: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Runs with a census under the paper's own rule, of TIERS and with E defined; how many were left out and why."""
    own = with_sets(runs).drop_nulls("dead_experts").with_columns(dataset="data_used")
    ruled = without_cross(own)
    shaped = ruled.filter(pl.Series([list(tiers) == TIERS for tiers in ruled["tiers"]], dtype=pl.Boolean))
    known = shaped.drop_nulls("control_number")
    stages = ("under other rules", own, ruled), ("of other tiers", ruled, shaped), ("without E", shaped, known)
    counts = [f"{before.height - after.height} {why}" for why, before, after in stages if before.height > after.height]
    return known, f"left out: {', '.join(counts)}" if counts else ""


def _group_rows(known: pl.DataFrame, threshold: float) -> Iterator[dict]:
    """Runs, and means of conditions, at or above the threshold against those below it, within data sets with both."""
    against = f"E >= {threshold:g} against below"
    means = known.group_by("dataset", "condition", "above", maintain_order=True).agg(
        pl.col("dead_experts", "any_dead").mean()
    )
    tests: tuple[tuple[str, str, str, str, pl.DataFrame, Callable], ...] = (
        ("dead experts", "dead_experts", "means", "exact permutation, runs", known, stratified_permutation),
        ("dead experts", "dead_experts", "means", "exact permutation, conditions", means, stratified_permutation),
        ("any dead expert", "any_dead", "share", "Fisher, exact conditional, runs", known, stratified_fisher),
        ("any dead expert", "any_dead", "share", "exact permutation, conditions", means, stratified_permutation),
    )
    for what, column, measure, name, table, test in tests:
        strata, left_out = _strata(table, column)
        if not strata:
            continue
        found = test(strata)
        sizes = [sum(len(group) for group in groups) for groups in zip(*strata, strict=True)]
        odds = "" if found.odds_ratio is None else f"odds ratio {found.odds_ratio:.3g}"
        yield _row(
            question=f"{what}, {against}", data=ALL, test=name, n=sizes[0], n_against=sizes[1],
            effect=found.difference, measure=f"difference in {measure}",
            p=found.p, p_minimum=found.minimum, note="; ".join(part for part in (odds, left_out) if part),
        )  # fmt: skip


def _strata(known: pl.DataFrame, column: str) -> tuple[Strata, str]:
    """Values of (above, below) by data set, and which data sets lack one of them."""
    strata, lacking = [], []
    for (name,), part in known.sort("dataset").group_by("dataset", maintain_order=True):
        groups = tuple(part.filter(pl.col("above") == side)[column].to_list() for side in (True, False))
        if all(groups):
            strata.append(groups)
        else:
            lacking.append(name)
    return strata, f"one side only, left out: {', '.join(lacking)}" if lacking else ""


def _bound_rows(known: pl.DataFrame, threshold: float) -> Iterator[dict]:
    """How often a run at or above the threshold has a dead expert, by data set."""
    for (name,), part in known.filter("above").sort("dataset").group_by("dataset", maintain_order=True):
        count, total = part["any_dead"].sum(), part.height
        low, high = clopper_pearson(count, total)
        note = "no death seen: up to the upper end is possible" if count == 0 else ""
        yield _row(
            question=f"any dead expert at E >= {threshold:g}", data=name, test="Clopper-Pearson", n=total,
            effect=count / total, measure="share of runs", ci_low=low, ci_high=high, note=note,
        )  # fmt: skip


def _revival_rows(known: pl.DataFrame, curves: pl.DataFrame, analysis: AnalysisSettings) -> Iterator[dict]:
    """Whether at least one dead expert comes back more often than not, over runs in which one ever was dead."""
    course = trajectories(known, curves, analysis).select(*KEYS, "dead_experts_revived")
    rows = known.join(course, on=KEYS, how="inner").drop_nulls("dead_experts_revived")
    for (name,), part in rows.sort("dataset").group_by("dataset", maintain_order=True):
        found = sign_test([revived - 0.5 for revived in part["dead_experts_revived"]])
        yield _row(
            question="dead experts come back (peak minus end)", data=name, test="exact sign test", n=part.height,
            effect=part["dead_experts_revived"].mean(), measure="experts a run", p=found.p, p_minimum=found.minimum,
            note=f"at least one came back in {found.above} of {part.height} runs",
        )  # fmt: skip


def _mixed_rows(known: pl.DataFrame, left_out: str) -> Iterator[dict]:
    """Any dead against log E, data sets as fixed effects, a random intercept a condition.

    Nothing where the outcome does not vary, or E within no data set. E = 0, which has no logarithm, counts as half the
    smallest positive E.
    """
    positive = known.filter(pl.col("control_number") > 0)["control_number"]
    levels = known.select("dataset", "control_number").n_unique()
    if known["any_dead"].n_unique() < 2 or levels == known["dataset"].n_unique() or positive.is_empty():
        return
    floor = positive.min() / 2
    covariate = [math.log(max(value, floor)) for value in known["control_number"]]
    labels = [known[name].to_list() for name in ("condition", "dataset")]
    found = mixed_logistic(known["any_dead"].to_list(), covariate, *labels)
    half = 1.96 * found.slope_sd
    zeros = known.height - len(positive)
    notes = [
        f"data sets fixed, {found.groups} conditions random, sd {found.random_sd:.2f}",
        f"E = 0 as {floor:.2g} in {zeros} run(s)" if zeros else "",
        left_out,
        "" if found.converged else "not converged",
    ]
    yield _row(
        question="any dead expert against log E", data="all", test="mixed logistic (secondary)", n=found.n,
        effect=found.slope, measure="logits a standard deviation", ci_low=found.slope - half,
        ci_high=found.slope + half, note="; ".join(filter(None, notes)),
    )  # fmt: skip


def _row(**known: object) -> dict:
    return dict.fromkeys(COLUMNS) | known
