"""A figure by name: its entry, its tables, its files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from moe_replication.config.analysis import analysis_settings
from moe_replication.config.figures import FigureEntry
from moe_replication.errors import BadInput
from moe_replication.figures.paper_values import read_paper_values
from moe_replication.figures.style import FigureInfo
from moe_replication.statistics.collect import read_parquet


def draw_figure(
    name: str,
    figures: Mapping[str, FigureEntry],
    scale: str,
    results_root: Path | str,
    figures_root: Path | str,
    root: Path | str,
) -> list[Path]:
    """Draw one of `figures` from results_root/{scale}/*.parquet to figures_root/{scale}/{name}.*.

    Below `root` are the papers' own numbers and the definitions of the analysis. Returns the files that were written.
    """
    if name not in figures:
        raise BadInput(f"figure {name!r}: no such figure; known: {', '.join(figures)}")
    entry = figures[name]
    draw = getattr(importlib.import_module(f"moe_replication.figures.{entry.module}"), entry.function)
    folder = Path(results_root) / scale
    tables = {table: read_parquet(folder / f"{table}.parquet", ("paper",)) for table in entry.tables}
    out_base = Path(figures_root) / scale / name
    values = read_paper_values(Path(root) / "config/paper_values.yaml")
    draw(tables, FigureInfo(scale=scale, analysis=analysis_settings(root), paper_values=values), out_base)
    return [out_base.with_name(f"{name}.{suffix}") for suffix in entry.suffixes]
