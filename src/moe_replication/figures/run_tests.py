"""Paper B: its main questions tested over runs, as a table."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import ECOLOGY
from moe_replication.figures.typeset import save_empty_table, save_table
from moe_replication.statistics.run_tests import COLUMNS, run_tests

HEADER = ("question", "data", "test", "n", "effect [95 % interval]", "of", "p", "smallest\np possible", "note")


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-table-tests: exact tests, bounds and the mixed model over runs of paper B."""
    with style.styled():
        own = {name: table.filter(pl.col("paper") == ECOLOGY) for name, table in tables.items()}
        data = run_tests(own["runs"], own["curves"], info.analysis)
        if data.is_empty():
            return save_empty_table(f"no runs of paper B at scale {info.scale}", list(COLUMNS), out_base)
        save_table(HEADER, [_cells(row) for row in data.iter_rows(named=True)], data, out_base)


def _cells(row: dict) -> list[str]:
    sizes = f"{row['n']} : {row['n_against']}" if row["n_against"] is not None else str(row["n"])
    ends = "" if row["ci_low"] is None else f" [{row['ci_low']:.3g}, {row['ci_high']:.3g}]"
    chances = ["-" if row[name] is None else f"{row[name]:.2g}" for name in ("p", "p_minimum")]
    effect = f"{row['effect']:.3g}{ends}"
    return [row["question"], row["data"], row["test"], sizes, effect, row["measure"], *chances, row["note"] or "-"]
