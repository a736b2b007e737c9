"""Paper B's main questions over all its runs, the run as the unit: exact tests, bounds, and a mixed model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.exact_tests import Strata, sign_test, stratified_fisher, stratified_permutation
from moe_replication.statistics.intervals import clopper_pearson
from moe_replication.statistics.mixed_logistic import mixed_logistic
from moe_replication.statistics.trajectories import KEYS, trajectories

COLUMNS = {
    "question": pl.String, "data": pl.String, "test": pl.String, "n": pl.Int64, "n_against": pl.Int64,
    "effect": pl.Float64, "measure": pl.String, "ci_low": pl.Float64, "ci_high": pl.Float64, "p": pl.Float64,
    "p_minimum": pl.Float64, "note": pl.String,
}  # fmt: skip
ALL = "all, stratified by data set"


def run_tests(runs: pl.DataFrame, curves: pl.DataFrame, analysis: AnalysisSettings) -> pl.DataFrame:
    """One row a test (columns of COLUMNS) over runs of paper B with a census; runs whose E is undefined are left out.

    p is two-sided and not corrected; the claims' verdicts are.
    """
    known = runs.drop_nulls(["dead_experts", "control_number"])
    if known.is_empty():
        return pl.DataFrame(schema=COLUMNS)
    known = known.with_columns(
        above=pl.col("control_number") >= analysis.rule_threshold, any_dead=(pl.col("dead_experts") > 0).cast(pl.Int64)
    )
    rows = [
        *_group_rows(known, analysis.rule_threshold),
        *_bound_rows(known, analysis.rule_threshold),
        *_revival_rows(known, curves, analysis),
        *_mixed_rows(known),
    ]
    return pl.DataFrame(rows, schema=COLUMNS)


def _group_rows(known: pl.DataFrame, threshold: float) -> Iterator[dict]:
    """Runs at or above the threshold against those below it, within data sets that have both."""
    against = f"E >= {threshold:g} against below"
    tests: tuple[tuple[str, str, str, str, Callable], ...] = (
        ("dead experts", "dead_experts", "means", "exact permutation", stratified_permutation),
        ("any dead expert", "any_dead", "share", "Fisher, exact conditional", stratified_fisher),
    )
    for what, column, measure, name, test in tests:
        strata, left_out = _strata(known, column)
        if not strata:
            continue
        found = test(strata)
        sizes = [sum(len(group) for group in groups) for groups in zip(*strata, strict=True)]
        odds = "" if found.odds_ratio is None else f"odds ratio {found.odds_ratio:.3g}; "
        yield _row(
            question=f"{what}, {against}", data=ALL, test=name, n=sizes[0], n_against=sizes[1],
            effect=found.difference, measure=f"difference in {measure}",
            p=found.p, p_minimum=found.minimum, note=odds + left_out,
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
        note = "no death seen: up to the upper bound is possible" if count == 0 else ""
        yield _row(
            question=f"any dead expert at E >= {threshold:g}", data=name, test="Clopper-Pearson", n=total,
            effect=count / total, measure="share of runs", ci_low=low, ci_high=high, note=note,
        )  # fmt: skip


def _revival_rows(known: pl.DataFrame, curves: pl.DataFrame, analysis: AnalysisSettings) -> Iterator[dict]:
    """Whether fewer experts are dead at the end than at the worst moment, where one ever was."""
    course = trajectories(known, curves, analysis).select(*KEYS, "dead_experts_revived")
    rows = known.join(course, on=KEYS, how="inner").filter(pl.col("dead_experts_peak") > 0)
    for (name,), part in rows.sort("dataset").group_by("dataset", maintain_order=True):
        found = sign_test(part["dead_experts_revived"].to_list())
        yield _row(
            question="dead experts come back (peak minus end)", data=name, test="exact sign test", n=part.height,
            effect=part["dead_experts_revived"].mean(), measure="experts a run", p=found.p, p_minimum=found.minimum,
            note=f"{found.above} of {part.height} runs; the end cannot exceed the peak: a test of any revival",
        )  # fmt: skip


def _mixed_rows(known: pl.DataFrame) -> Iterator[dict]:
    """Any dead against log E with a random intercept a condition; nothing where either does not vary."""
    rows = known.filter(pl.col("control_number") > 0)
    if rows["any_dead"].n_unique() < 2 or rows["control_number"].n_unique() < 2:
        return
    covariate = [math.log(value) for value in rows["control_number"]]
    found = mixed_logistic(rows["any_dead"].to_list(), covariate, rows["condition"].to_list())
    half = 1.96 * found.slope_sd
    yield _row(
        question="any dead expert against log E", data="all", test="mixed logistic (secondary)", n=found.n,
        effect=found.slope, measure="logits a standard deviation", ci_low=found.slope - half,
        ci_high=found.slope + half,
        note=f"random intercept of {found.groups} conditions, sd {found.random_sd:.2f}"
        + ("" if found.converged else "; not converged"),
    )  # fmt: skip


def _row(**known: object) -> dict:
    return dict.fromkeys(COLUMNS) | known
