"""Paper A's Tables 1, 2 and 8 with our numbers beside the paper's, and the settings behind them; drawn and in text."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.loss import with_core
from moe_replication.figures.number_formats import dashed, short_numbers, short_powers
from moe_replication.figures.paper_values import of_metric, reported
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper
from moe_replication.figures.typeset import NOT_RUN, save_empty_table, save_table
from moe_replication.statistics.compare import seed_values
from moe_replication.statistics.intervals import mean_interval

HEADER = {
    "method": "method",
    "pool": "pool,\npaper",
    "pool_tokens": "pool,\nours",
    "n": "n",
    "val_loss": "CE,\nours",
    "paper_val_loss": "CE,\npaper",
    "core": "CORE,\nours (%)",
    "paper_core": "CORE,\npaper (%)",
}
SCHEMA = {
    "condition": pl.String,
    "method": pl.String,
    "pool": pl.String,
    "pool_tokens": pl.Int64,
    **{
        f"{metric}{end}": pl.Int64 if end == "_n" else pl.Float64
        for metric in ("val_loss", "core")
        for end in ("_n", "", "_half_width", "_paper")
    },
}
DIGITS = {"val_loss": 3, "core": 2}
PAPER_FORMATS = {"val_loss": ".3f", "core": "g"}  # as the paper prints them
# Column of runs.parquet -> heading of the table of settings; columns without any value are left out.
SETTINGS = {
    "title": "condition",
    "rule": "rule",
    "top_k": "G",
    "pool_tokens": "pool\n(tokens)",
    "experts": "experts",
    "storage": "storage",
    "expert_optimizer": "experts'\noptimiser",
    "recipe": "recipe",
    "parameters_total": "parameters,\ntotal",
    "parameters_active": "parameters,\nactive",
    "tokens": "tokens",
    "steps": "steps",
    "dataset": "data",
    "dtype": "precision",
    "seeds": "seeds",
}


def result_rows(runs: pl.DataFrame, values: pl.DataFrame, place: str) -> pl.DataFrame:
    """One row per row of the paper's table `place`: our mean, n and half-width of each metric, beside the paper's."""
    columns = {metric: reported(values, metric, place) for metric in DIGITS}
    pools = dict(of_paper(runs, THRESHOLD, ("condition", "pool_tokens")).drop_nulls().iter_rows())
    rows = []
    for line in of_metric(values, "val_loss", place).iter_rows(named=True):
        name = line["condition"]
        row = {"condition": name, "method": line["label"], "pool": line["pool"], "pool_tokens": pools.get(name)}
        for metric, paper in columns.items():
            found = list(seed_values(runs, THRESHOLD, name, metric).values())
            row |= {f"{metric}_n": len(found), f"{metric}_paper": paper.get(name)}
            if found:
                estimate = mean_interval(found)
                row |= {metric: estimate.mean, f"{metric}_half_width": style.half_width(estimate)}
        rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA)


def result_cells(data: pl.DataFrame) -> list[list[str]]:
    """Rows of text under HEADER; `not run` where a condition has no value of ours."""
    cells = []
    for row in data.iter_rows(named=True):
        pool = "-" if row["pool_tokens"] is None else short_powers(row["pool_tokens"])
        ours = {metric: _estimate(row, metric) for metric in DIGITS}
        paper = {metric: dashed(row[f"{metric}_paper"], form) for metric, form in PAPER_FORMATS.items()}
        counts = str(row["val_loss_n"] or "-")
        cells.append([row["method"], row["pool"] or "-", pool, counts, ours["val_loss"], paper["val_loss"],
                      ours["core"], paper["core"]])  # fmt: skip
    return cells


def _estimate(row: dict, metric: str) -> str:
    if row[metric] is None:
        return NOT_RUN
    digits, half = DIGITS[metric], row[f"{metric}_half_width"]
    return f"{row[metric]:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


def setting_rows(runs: pl.DataFrame) -> pl.DataFrame:
    """One row per condition of paper A with the recorded columns of SETTINGS and its number of seeds."""
    own = runs.filter(pl.col("paper") == THRESHOLD)
    columns = [name for name in SETTINGS if name in own.columns and not own[name].is_null().all()]
    first = own.group_by("condition", maintain_order=True).agg(
        *(pl.col(name).first() for name in columns), seeds=pl.len().cast(pl.Int64)
    )
    rank = {name: number for number, name in enumerate(style.condition_order(first))} if first.height else {}
    return first.sort(pl.col("condition").replace_strict(rank, return_dtype=pl.Int64)) if rank else first


def setting_cells(data: pl.DataFrame) -> list[list[str]]:
    """Rows of text, one column per setting."""
    return [[_setting(name, value) for name, value in row.items()] for row in data.iter_rows(named=True)]


def _setting(name: str, value: object) -> str:
    if value is None:
        return "-"
    if name == "pool_tokens":
        return short_powers(value)
    if name.startswith("parameters") or name == "tokens":
        return short_numbers(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _draw_results(number: int, tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    with style.styled():
        runs = with_core(tables["runs"], tables["probe-metrics"])
        data = result_rows(runs, info.paper_values, f"A, Table {number}")
        if data.is_empty():
            return save_empty_table(
                f"the paper's values of Table {number} are not in the data file", list(SCHEMA), out_base
            )
        save_table(list(HEADER.values()), result_cells(data), data, out_base)


def draw_table_1(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-table01: the d12 comparison."""
    _draw_results(1, tables, info, out_base)


def draw_table_2(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-table02: the d20 comparison."""
    _draw_results(2, tables, info, out_base)


def draw_table_8(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-table08: shared expert and warm-up."""
    _draw_results(8, tables, info, out_base)


def draw_settings(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-table05: what every condition was run with."""
    with style.styled():
        data = setting_rows(tables["runs"])
        if data.is_empty():
            return save_empty_table(f"no runs of paper A at scale {info.scale}", list(SETTINGS), out_base)
        shown = data.drop("condition")
        header = [SETTINGS[name] for name in shown.columns]
        save_table(header, setting_cells(shown), data, out_base)
