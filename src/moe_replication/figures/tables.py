"""Selections and averages over seeds that several figures share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl
from scipy.special import stdtrit

TEXT = dict.fromkeys(("condition", "title", "rule", "task", "dataset"), pl.String)
THRESHOLD, ECOLOGY = "expert-threshold", "expert-ecology"
# Paper A: model size -> its conditions in Figure 1, the dense model first.
SIZES = {
    "d12": ("dense", "tc", "tc-aux", "tc-loss-free", "ec-sequence", "ec-batch", "et"),
    "d20": ("d20-dense", "d20-tc-aux", "d20-ec", "d20-et"),
}


def of_paper(frame: pl.DataFrame, paper: str, columns: Sequence[str]) -> pl.DataFrame:
    """The rows of one paper; columns that no run recorded are added as nulls."""
    missing = [pl.lit(None, TEXT.get(name, pl.Float64)).alias(name) for name in columns if name not in frame.columns]
    return frame.filter(pl.col("paper") == paper).with_columns(missing).select(columns)


def mean_band(frame: pl.DataFrame, by: Sequence[str], value: str) -> pl.DataFrame:
    """Columns `by`, n, mean, ci_low, ci_high of `value` over the remaining rows, one per seed.

    Nulls are left out; the 95 % t interval is null at n = 1.
    """
    groups = (
        frame.drop_nulls(value)
        .group_by(by, maintain_order=True)
        .agg(n=pl.len().cast(pl.Int64), mean=pl.col(value).mean(), sd=pl.col(value).std(ddof=1))
    )
    sizes = [n for n in groups["n"].unique().sort() if n > 1]
    factors = pl.DataFrame({"n": sizes, "factor": [_t_factor(n) for n in sizes]}, {"n": pl.Int64, "factor": pl.Float64})
    half = pl.col("factor") * pl.col("sd")
    return (
        groups.join(factors, on="n", how="left", maintain_order="left")
        .with_columns(ci_low=pl.col("mean") - half, ci_high=pl.col("mean") + half)
        .select(*by, "n", "mean", "ci_low", "ci_high")
    )


def complete_band(frame: pl.DataFrame, by: Sequence[str], along: str, value: str) -> pl.DataFrame:
    """mean_band over `by` and `along`, only where all seeds of the group are present, sorted by `along`.

    A mean over a changing set of seeds would jump without anything having changed.
    """
    band = mean_band(frame, [*by, along], value)
    return band.filter(pl.col("n") == pl.col("n").max().over(by)).sort(*by, along)


def _t_factor(n: int) -> float:
    """Half-width of the 95 % t interval of a mean of n values, in units of their standard deviation."""
    return float(stdtrit(n - 1, 0.975)) / math.sqrt(n)
