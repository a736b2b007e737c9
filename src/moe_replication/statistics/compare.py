"""Means with intervals per condition, and each condition against its baseline over paired seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from moe_replication.files import atomic_path
from moe_replication.statistics.collect import metric_columns, read_runs
from moe_replication.statistics.hypothesis_tests import (
    MAX_SIGN_FLIP_N,
    sign_flip,
    sign_flip_minimum,
    sign_flip_note,
)
from moe_replication.statistics.intervals import mean_interval, paired_interval

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
    "difference": pl.Float64,
    "sd": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "p_sign_flip": pl.Float64,
    "p_minimum": pl.Float64,
    "note": pl.String,
}


def write_comparisons(results: Path | str, baselines: Mapping[tuple[str, str], str | None]) -> None:
    """From results/{scale}/runs.parquet write summary.parquet and comparisons.parquet beside it.

    baselines: (paper, condition) -> condition of the same paper to compare with; None = no comparison.
    """
    results = Path(results)
    runs = read_runs(results / "runs.parquet")
    for name, table in (("summary", summarise(runs)), ("comparisons", compare(runs, baselines))):
        with atomic_path(results / f"{name}.parquet") as path:
            table.write_parquet(path)


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


def compare(runs: pl.DataFrame, baselines: Mapping[tuple[str, str], str | None]) -> pl.DataFrame:
    """Condition minus baseline over the seeds that both have, for the scored metrics that both measured."""
    rows = []
    for (paper, condition), baseline in baselines.items():
        for metric in SCORED if baseline is not None else ():
            first, second = paired(*(seed_values(runs, paper, name, metric) for name in (condition, baseline)))
            if first:
                interval = paired_interval(first, second)
                p_value, note = sign_flip_beside(first, second)
                label = (paper, condition, baseline, metric)
                estimate = (interval.n, interval.mean, interval.sd, interval.low, interval.high)
                rows.append((*label, *estimate, p_value, sign_flip_minimum(interval.n), note))
    return pl.DataFrame(rows, schema=COMPARISONS, orient="row").sort("paper", "condition", maintain_order=True)


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
