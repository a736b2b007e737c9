"""Means with intervals per condition, and each condition against its baseline over paired seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.files import atomic_path
from moe_replication.statistics.bootstrap import bootstrap_interval, bootstrap_label
from moe_replication.statistics.collect import metric_columns, read_runs
from moe_replication.statistics.effect_sizes import correlation, hedges_independent, hedges_paired
from moe_replication.statistics.hypothesis_tests import (
    MAX_SIGN_FLIP_N,
    MAX_SPLITS,
    holm,
    paired_t,
    permutation,
    permutation_minimum,
    sign_flip,
    sign_flip_minimum,
    sign_flip_note,
    welch_t,
)
from moe_replication.statistics.intervals import mean_interval, paired_interval
from moe_replication.statistics.power import needed_n, paired_power
from moe_replication.statistics.versions import check_pool

SCORED = ("val_loss", "test_accuracy", "dead_experts")
SUMMARY = {
    "paper": pl.String,
    "condition": pl.String,
    "title": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    "mean": pl.Float64,
    "sd": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
}
COMPARISONS = {
    "paper": pl.String,
    "condition": pl.String,
    "baseline": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("difference", "sd", "ci_low", "ci_high"), pl.Float64),
    **dict.fromkeys(("bca_low", "bca_high", "percentile_low", "percentile_high"), pl.Float64),
    "bootstrap_label": pl.String,
    **dict.fromkeys(("p_t", "p_t_holm", "p_welch", "p_sign_flip", "p_minimum"), pl.Float64),
    **dict.fromkeys(("p_permutation", "p_permutation_minimum"), pl.Float64),
    "note": pl.String,
    **dict.fromkeys(("g_paired", "g_paired_low", "g_paired_high"), pl.Float64),
    **dict.fromkeys(("g_independent", "g_independent_low", "g_independent_high"), pl.Float64),
    "correlation": pl.Float64,
    "power": pl.Float64,
    "n_needed": pl.Int64,
    "paper_difference": pl.Float64,
    "paper_power": pl.Float64,
    "paper_n_needed": pl.Int64,
}
# Claims whose paper_value is the first condition minus the second.
DIFFERENCES = ("ordering", "equivalence", "difference")
# A difference of two printed cells, without floating-point dust.
DECIMALS = 6

Reported = Mapping[tuple[str, str, str, str], float]


def write_comparisons(
    results: Path | str,
    baselines: Mapping[tuple[str, str], str | None],
    analysis: AnalysisSettings,
    reported: Reported,
    mixed: bool = False,
) -> list[str]:
    """From results/{scale}/runs.parquet write summary.parquet and comparisons.parquet beside it.

    baselines: (paper, condition) -> condition of the same paper to compare with; None = no comparison. reported: as
    paper_differences gives them. BadInput for runs of several versions unless `mixed`; then warnings that name them.
    """
    results = Path(results)
    runs = read_runs(results / "runs.parquet")
    warnings = check_pool(runs, mixed=mixed)
    compared = compare(runs, baselines, analysis, reported)
    for name, table in (("summary", summarise(runs)), ("comparisons", compared)):
        with atomic_path(results / f"{name}.parquet") as path:
            table.write_parquet(path)
    return warnings


def paper_differences(claims: Sequence[dict], values: pl.DataFrame) -> Reported:
    """(paper, condition, baseline, metric) -> the paper's difference, condition minus baseline.

    From `values`, the papers' cells of scored metrics at the end of training (columns paper, condition, metric, epoch,
    value), and from the claims that give a difference, which win.
    """
    cells = values.filter(pl.col("metric").is_in(SCORED), pl.col("epoch").is_null()).drop_nulls("condition")
    known: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for paper, condition, metric, value in cells.select("paper", "condition", "metric", "value").iter_rows():
        known[paper, metric][condition] = value
    found = {
        (paper, first, second, metric): round(column[first] - column[second], DECIMALS)
        for (paper, metric), column in known.items()
        for first, second in permutations(column, 2)
    }
    for claim in claims:
        pair = claim["comparison"] in DIFFERENCES and len(claim["conditions"]) == 2
        if pair and "paper_value" in claim and "epoch" not in claim:
            found[claim["paper"], *claim["conditions"], claim["metric"]] = claim["paper_value"]
    return found


def summarise(runs: pl.DataFrame) -> pl.DataFrame:
    """Mean, sd and 95 % t interval of every metric of every condition over its seeds (null at n = 1)."""
    rows = []
    for (paper, condition), part in runs.group_by("paper", "condition", maintain_order=True):
        for metric in metric_columns(runs):
            values = part[metric].drop_nulls().to_list()
            if values:
                interval = mean_interval(values)
                label = (paper, condition, part["title"][0], metric)
                rows.append((*label, interval.n, interval.mean, interval.sd, interval.low, interval.high))
    return pl.DataFrame(rows, schema=SUMMARY, orient="row")


def compare(
    runs: pl.DataFrame,
    baselines: Mapping[tuple[str, str], str | None],
    analysis: AnalysisSettings,
    reported: Reported,
) -> pl.DataFrame:
    """Condition minus baseline over the seeds that both have, for the scored metrics that both measured.

    Welch's test, the permutation test and g_independent take the same values and ignore the pairing. p_t_holm is p_t
    corrected over the comparisons of a paper in one metric; every other p is not corrected. Null: undefined here.
    """
    rows = []
    for (paper, condition), baseline in baselines.items():
        for metric in SCORED if baseline is not None else ():
            first, second = paired(*(seed_values(runs, paper, name, metric) for name in (condition, baseline)))
            if first:
                label = {"paper": paper, "condition": condition, "baseline": baseline, "metric": metric}
                paper_value = reported.get(tuple(label.values()))
                rows.append(label | _estimates(first, second, analysis) | _power(first, second, paper_value))
    families: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for row in rows:
        if row["p_t"] is not None:
            families[row["paper"], row["metric"]].append(row)
    for family in families.values():
        for row, p_value in zip(family, holm([row["p_t"] for row in family]), strict=True):
            row["p_t_holm"] = p_value
    return pl.DataFrame(rows, schema=COMPARISONS).sort("paper", "condition", maintain_order=True)


def _estimates(first: list[float], second: list[float], analysis: AnalysisSettings) -> dict:
    """Interval, tests and effect sizes of paired values, by column."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    interval = paired_interval(first, second)
    p_sign_flip, note = sign_flip_beside(first, second)
    row = {
        "n": interval.n,
        "difference": interval.mean,
        "sd": interval.sd,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "bootstrap_label": bootstrap_label(interval.n),
        "p_t": paired_t(differences) if interval.sd else None,
        "p_sign_flip": p_sign_flip,
        "p_minimum": sign_flip_minimum(interval.n),
        "p_permutation_minimum": permutation_minimum(interval.n),
        "note": note,
        "correlation": correlation(first, second),
    }
    for name, method in (("bca", "BCa"), ("percentile", "percentile")):
        row[f"{name}_low"], row[f"{name}_high"] = bootstrap_interval(
            differences, method, analysis.resamples, analysis.resample_seed
        )
    if math.comb(2 * interval.n, interval.n) <= MAX_SPLITS:
        row["p_permutation"] = permutation(first, second)
    independent = hedges_independent(first, second)
    if independent is not None:
        row["p_welch"] = welch_t(first, second)
    for name, effect in (("g_paired", hedges_paired(differences)), ("g_independent", independent)):
        if effect is not None:
            row |= {name: effect.g, f"{name}_low": effect.low, f"{name}_high": effect.high}
    return row


def _power(first: list[float], second: list[float], paper_value: float | None) -> dict:
    """Power of the paired t test at this n, and the n for 80 %, for our difference and for the paper's, at our sd."""
    interval = paired_interval(first, second)
    row: dict = {"paper_difference": paper_value}
    if not interval.sd:
        return row
    row |= {
        "power": paired_power(interval.mean, interval.sd, interval.n),
        "n_needed": needed_n(interval.mean, interval.sd),
    }
    if paper_value is not None:
        row |= {
            "paper_power": paired_power(paper_value, interval.sd, interval.n),
            "paper_n_needed": needed_n(paper_value, interval.sd),
        }
    return row


def sign_flip_beside(first: list[float], second: list[float]) -> tuple[float | None, str]:
    """Exact sign-flip p of paired values and the note to print with it; None above the test's largest n."""
    if len(first) > MAX_SIGN_FLIP_N:
        return None, f"no exact sign-flip p above n = {MAX_SIGN_FLIP_N}"
    return sign_flip([a - b for a, b in zip(first, second, strict=True)]), sign_flip_note(len(first))


def seed_values(runs: pl.DataFrame, paper: str, condition: str, metric: str) -> dict[int, float]:
    """Seed -> value of one metric; empty when nothing was run or measured."""
    if metric not in runs.columns:
        return {}
    part = runs.filter(pl.col("paper") == paper, pl.col("condition") == condition).drop_nulls(metric)
    return dict(part.select("seed", metric).sort("seed").rows())


def paired(*columns: Mapping[int, float]) -> list[list[float]]:
    """Conditions' values (seed -> value) over the seeds that all have, in the first one's order."""
    seeds = [seed for seed in columns[0] if all(seed in column for column in columns)]
    return [[column[seed] for seed in seeds] for column in columns]
