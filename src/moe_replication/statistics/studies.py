"""Paper B's runs as figures and tests group them: the paper's data sets, the factors of E, and the rule's two sides."""

from __future__ import annotations

import polars as pl

from moe_replication.ecology.control_number import meets_threshold

# Embedded stand-ins are grouped with the set whose place they take.
SETS = {
    "cifar10": "CIFAR-10",
    "digits-10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits-100": "CIFAR-100",
    "tiny-imagenet": "TinyImageNet",
    "digits-200": "TinyImageNet",
}
FACTORS = ("temperature", "entropy_weight", "oracle_weight", "balance_weight")
CROSS = "CROSS"  # other routing rules or a shared expert, so that E is not all that differs
DECIMALS = 9  # 0.15 / (0.1 + 0.2) means 0.5 and is just below it in floating point


def with_sets(runs: pl.DataFrame) -> pl.DataFrame:
    """Paper B's runs with `dataset` the paper's set or `language`, `data_used` what took its place, `rows` never null.

    `runs` needs task, dataset and rows.
    """
    group = pl.when(pl.col("task") == "language").then(pl.lit("language")).otherwise(pl.col("dataset").replace(SETS))
    rows = pl.col("rows").cast(pl.List(pl.String)).fill_null(pl.lit([], pl.List(pl.String)))
    return runs.with_columns(rows=rows, data_used=pl.col("dataset"), dataset=group)


def of_row(runs: pl.DataFrame, row: str) -> pl.DataFrame:
    """The runs of one row of the matrix."""
    return runs.filter(pl.col("rows").list.contains(row))


def without_cross(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs under the paper's own routing rule, without a shared expert."""
    return runs.filter(~pl.col("rows").list.contains(CROSS))


def meets(control: float, threshold: float) -> bool:
    """Whether E, rounded to DECIMALS, is at least `threshold`."""
    return meets_threshold(round(control, DECIMALS), threshold)
