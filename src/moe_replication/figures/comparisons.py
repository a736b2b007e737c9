"""Every condition against its baseline as a table: interval, tests, effect size and power; and over pools of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from moe_replication.figures import style
from moe_replication.figures.number_formats import dashed
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import ECOLOGY, THRESHOLD
from moe_replication.figures.typeset import save_empty_table, save_table
from moe_replication.statistics.compare import COMPARISONS
from moe_replication.statistics.pools import PoolEstimate, interquartile_mean, probability_of_improvement

HEADER = (
    "condition - baseline", "metric", "n", "difference\n[95 % t interval]", "BCa interval", "p paired t\n(Holm)",
    "p Welch", "p sign-flip\n(smallest)", "p permutation\n(smallest)", "g, paired\n[95 %]", "g, independent\n[95 %]",
    "r of\npairs", "power\nat n", "n for\n80 %", "paper's\ndifference", "power\nfor it", "n for\nit",
)  # fmt: skip
# Pool -> its table, the column of tasks, of scores, and what turns a score so that higher is better.
POOLS = {
    "CORE tasks": ("probe-core", "task", "centered", 100.0),
    "validation domains": ("probe-documents", "domain", "loss", -1.0),
}
POOL_HEADER = (
    "condition - baseline",
    "pool",
    "tasks",
    "runs",
    "IQM, condition",
    "IQM, baseline",
    "P(better on a task)",
)
POOL_SCHEMA = {
    "condition": pl.String, "baseline": pl.String, "pool": pl.String, "tasks": pl.Int64, "n": pl.Int64,
    "n_baseline": pl.Int64,
    **{f"{name}{end}": pl.Float64 for name in ("iqm", "iqm_baseline", "probability") for end in ("", "_low", "_high")},
}  # fmt: skip
# A mean over losses of several domains says which domain is in the middle, so losses have no IQM.
WITH_IQM = ("CORE tasks",)
MORE_THAN = "> 10,000"  # statistics.power searches no further


def draw_threshold(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-table-comparisons: paper A's conditions against their baselines."""
    _draw(tables["comparisons"], THRESHOLD, info, out_base)


def draw_ecology(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-table-comparisons: paper B's conditions against their baselines."""
    _draw(tables["comparisons"], ECOLOGY, info, out_base)


def draw_pools(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-table-pools: paper A's conditions against their baselines over CORE's tasks and over validation domains."""
    with style.styled():
        data = pl.DataFrame(list(pool_rows(tables, info)), schema=POOL_SCHEMA)
        if data.is_empty():
            return save_empty_table(f"no probes of a condition and its baseline at scale {info.scale}",
                                    list(POOL_SCHEMA), out_base)  # fmt: skip
        save_table(POOL_HEADER, [_pool_cells(row) for row in data.iter_rows(named=True)], data, out_base)


def pool_rows(tables: dict[str, pl.DataFrame], info: FigureInfo) -> Iterator[dict]:
    """A row a pool and comparison of paper A, over the tasks that every run of both sides has."""
    pairs = tables["comparisons"].filter(pl.col("paper") == THRESHOLD).select("condition", "baseline").unique()
    options = (info.analysis.resamples, info.analysis.resample_seed)
    for pool, (table, task, column, factor) in POOLS.items():
        own = tables[table].filter(pl.col("paper") == THRESHOLD).with_columns(score=pl.col(column) * factor)
        for condition, baseline in pairs.sort("condition", "baseline").iter_rows():
            first_TS, second_TS = _scores(own, task, condition, baseline)
            if not first_TS.size or not second_TS.size:
                continue
            row = {
                "condition": condition, "baseline": baseline, "pool": pool, "tasks": len(first_TS),
                "n": first_TS.shape[1], "n_baseline": second_TS.shape[1],
            }  # fmt: skip
            row |= _columns("probability", probability_of_improvement(first_TS, second_TS, *options))
            if pool in WITH_IQM:
                row |= _columns("iqm", interquartile_mean(first_TS, *options))
                row |= _columns("iqm_baseline", interquartile_mean(second_TS, *options))
            yield row


def _scores(table: pl.DataFrame, task: str, *conditions: str) -> list[np.ndarray]:
    """scores_TS of each condition over the tasks that all their runs have, tasks in one order."""
    wide = [
        table.filter(pl.col("condition") == name).sort("seed").pivot("seed", index=task, values="score").drop_nulls()
        for name in conditions
    ]
    shared = sorted(set.intersection(*(set(part[task]) for part in wide)))
    return [part.filter(pl.col(task).is_in(shared)).sort(task).drop(task).to_numpy() for part in wide]


def _columns(name: str, estimate: PoolEstimate) -> dict[str, float | None]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _draw(comparisons: pl.DataFrame, paper: str, info: FigureInfo, out_base: Path | str) -> None:
    with style.styled():
        data = comparisons.filter(pl.col("paper") == paper)
        if data.is_empty():
            return save_empty_table(f"no condition ran beside its baseline at scale {info.scale}",
                                    list(COMPARISONS), out_base)  # fmt: skip
        cells = [_cells(row) for row in data.iter_rows(named=True)]
        shown = [place for place in range(len(HEADER)) if any(row[place] != "-" for row in cells)]
        save_table([HEADER[n] for n in shown], [[row[n] for n in shown] for row in cells], data, out_base)


def _cells(row: dict) -> list[str]:
    """One row of text under HEADER; a dash where a value is undefined."""
    limits = ("p_minimum", "p_permutation_minimum")
    flip, split = (f"{dashed(row[name], '.2g')} ({row[limit]:.2g})"
                   for name, limit in zip(("p_sign_flip", "p_permutation"), limits, strict=True))  # fmt: skip
    holm = "" if row["p_t_holm"] is None else f" ({row['p_t_holm']:.2g})"
    bca = _interval(row["bca_low"], row["bca_high"]).strip() or "-"
    return [
        f"{row['condition']} - {row['baseline']}", row["metric"], str(row["n"]),
        f"{row['difference']:.3g}" + (", all equal" if row["sd"] == 0 else _interval(row["ci_low"], row["ci_high"])),
        f"{bca} {row['bootstrap_label']}" if bca != "-" else bca,
        f"{dashed(row['p_t'], '.2g')}{holm}", dashed(row["p_welch"], ".2g"), flip, split,
        *(_estimate(row, name) for name in ("g_paired", "g_independent")),
        dashed(row["correlation"], ".2f"),
        dashed(row["power"], ".2f"), _needed(row["n_needed"], row["power"]),
        dashed(row["paper_difference"], ".3g"), dashed(row["paper_power"], ".2f"),
        _needed(row["paper_n_needed"], row["paper_power"]),
    ]  # fmt: skip


def _pool_cells(row: dict) -> list[str]:
    estimates = (_estimate(row, name) for name in ("iqm", "iqm_baseline", "probability"))
    runs = f"{row['n']} : {row['n_baseline']}"
    return [f"{row['condition']} - {row['baseline']}", row["pool"], str(row["tasks"]), runs, *estimates]


def _estimate(row: dict, name: str) -> str:
    return f"{dashed(row[name], '.3g')}{_interval(row[f'{name}_low'], row[f'{name}_high'])}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None else f" [{low:.3g}, {high:.3g}]"


def _needed(n: int | None, power: float | None) -> str:
    return "-" if power is None else MORE_THAN if n is None else f"{n:,}"
