"""Do runs at the same E agree, however T, H, O and B make it up?"""

from __future__ import annotations

import numpy as np
import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.hypothesis_tests import TIE_TOLERANCE
from moe_replication.statistics.intervals import mean_interval
from moe_replication.statistics.studies import of_row

ROW = "ISO"
AGREEMENT = {
    "dataset": pl.String,
    "level": pl.Float64,
    "metric": pl.String,
    "tuples": pl.Int64,
    "n": pl.Int64,
    "mean": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "eta_squared": pl.Float64,
    "eta_squared_chance": pl.Float64,
    "p": pl.Float64,
}


def iso_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """Runs of row ISO where E is defined, with `level`: E to three decimals, as the paper quotes it."""
    return of_row(runs, ROW).drop_nulls("control_number").with_columns(level=pl.col("control_number").round(3))


def level_agreement(runs: pl.DataFrame, metric: str, settings: AnalysisSettings) -> pl.DataFrame:
    """One row of AGREEMENT per data set and level; `runs` as of `iso_runs`, with dataset, condition, seed and metric.

    The mean and its t interval are over tuples, each the mean of its runs. `eta_squared` is the share of the variance
    between tuples, `eta_squared_chance` its mean over permutations, `p` theirs (`tuple_permutation`).
    """
    rows = []
    known = runs.drop_nulls(metric).sort("dataset", "level", "condition", "seed")
    for (name, level), here in known.group_by("dataset", "level", maintain_order=True):
        means = here.group_by("condition", maintain_order=True).agg(pl.col(metric).mean())[metric]
        over_tuples = mean_interval(means.to_list())
        share, chance, p = tuple_permutation(
            here[metric].to_numpy().astype(np.float64),
            here["condition"].rank("dense").to_numpy().astype(int) - 1,
            here["seed"].to_numpy(),
            settings,
        )
        rows.append(
            {"dataset": name, "level": level, "metric": metric, "tuples": len(means), "n": here.height}
            | {"mean": over_tuples.mean, "ci_low": over_tuples.low, "ci_high": over_tuples.high}
            | {"eta_squared": share, "eta_squared_chance": chance, "p": p}
        )
    return pl.DataFrame(rows, schema=AGREEMENT)


def tuple_permutation(
    values: np.ndarray, group: np.ndarray, seed: np.ndarray, settings: AnalysisSettings
) -> tuple[float | None, float | None, float | None]:
    """Eta squared, its mean over permutations, and the Monte-Carlo p that all tuples are alike (one-sided).

    Runs change tuples within their seed, since a seed gives all tuples the same start and order of data. All None with
    one tuple or one run a tuple; with values that are all equal eta squared is None and p is 1.
    """
    sizes = np.bincount(group)
    if len(sizes) < 2 or sizes.max() == 1:
        return None, None, None
    centred = values - values.mean()
    total = float(centred @ centred)
    if np.all(values == values[0]):
        return None, None, 1.0
    generator = np.random.default_rng(settings.resample_seed)
    shuffled = np.empty((settings.resamples, len(values)))
    for one in np.unique(seed):
        block = np.flatnonzero(seed == one)
        copies = np.tile(centred[block], (settings.resamples, 1))
        shuffled[:, block] = generator.permuted(copies, axis=1)
    observed, chance = (_between(rows, group, sizes) / total for rows in (centred[None, :], shuffled))
    as_far = int((chance >= observed[0] - TIE_TOLERANCE).sum())
    return float(observed[0]), float(chance.mean()), (1 + as_far) / (1 + len(chance))


def _between(rows: np.ndarray, group: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Sum of squares between groups of each row of centred values."""
    sums = rows @ np.eye(len(sizes))[group]
    return (sums**2 / sizes).sum(axis=1)
