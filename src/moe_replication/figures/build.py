"""Every figure by name: what draws it and which collected tables it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from moe_replication.errors import BadInput
from moe_replication.figures import cutoff, deaths, ecology, loss
from moe_replication.figures.paper_values import read_paper_values
from moe_replication.figures.style import FigureInfo
from moe_replication.statistics.collect import read_parquet

Draw = Callable[[dict[str, pl.DataFrame], FigureInfo, Path], None]

FIGURES: dict[str, tuple[Draw, tuple[str, ...]]] = {
    "a-fig01-loss-curves": (loss.draw_curves, ("runs", "curves")),
    "a-fig03-cutoff-usage": (cutoff.draw, ("runs", "experts")),
    "a-fig06-pool-size": (loss.draw_pool, ("runs",)),
    "b-dead-vs-e": (deaths.draw, ("runs",)),
    "b-usage-by-epoch": (ecology.draw_usage, ("experts",)),
    "b-tier-shares": (ecology.draw_shares, ("experts",)),
}


def draw_figure(
    name: str, scale: str, results_root: Path | str, figures_root: Path | str, paper_values: Path | str
) -> Path:
    """Draw one figure from results_root/{scale}/*.parquet to figures_root/{scale}/{name}.png, .pdf and .csv.

    `paper_values` is the YAML file of the papers' own numbers. Returns the path without suffix.
    """
    if name not in FIGURES:
        raise BadInput(f"figure {name!r}: no such figure; known: {', '.join(FIGURES)}")
    draw, needed = FIGURES[name]
    tables = {table: read_parquet(Path(results_root) / scale / f"{table}.parquet", ("paper",)) for table in needed}
    out_base = Path(figures_root) / scale / name
    draw(tables, FigureInfo(scale=scale, paper_values=read_paper_values(paper_values)), out_base)
    return out_base
