"""Quantities of paper B over epochs: every seed a thin line, their mean a thick one with its 95 % band."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.pieces import band
from moe_replication.figures.tables import complete_band

# The numbers drawn: `kind` is seed, mean or paper; a mean has no seed, a seed no n.
POINT = {
    "kind": pl.String,
    "condition": pl.String,
    "series": pl.String,
    "seed": pl.Int64,
    "epoch": pl.Float64,
    "n": pl.Int64,
    "value": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "place": pl.String,
}
FEW = 12  # epochs up to which points are marked: a single one would leave no line to see


def over_epochs(rows: pl.DataFrame, series: Sequence[str]) -> pl.DataFrame:
    """Columns `series` of `rows` (condition, seed, epoch) as POINT: every seed, and the means over complete sets."""
    if rows.is_empty():
        return pl.DataFrame(schema=POINT)
    long = rows.unpivot(series, index=["condition", "seed", "epoch"], variable_name="series").drop_nulls("value")
    means = complete_band(long, ["condition", "series"], "epoch", "value").rename({"mean": "value"})
    parts = [long.with_columns(kind=pl.lit("seed")), means.with_columns(kind=pl.lit("mean"))]
    both = pl.concat([pl.DataFrame(schema=POINT), *parts], how="diagonal_relaxed").select(list(POINT))
    return both.sort("condition", "series", "kind", "seed", "epoch", nulls_last=True)


def course(ax: Axes, data: pl.DataFrame, condition: str, look: style.Look) -> None:
    """One condition of one series; nothing where it has no rows."""
    own = data.filter(pl.col("condition") == condition)
    for _, seed in own.filter(pl.col("kind") == "seed").group_by("seed", maintain_order=True):
        dots = {"marker": look.marker, "markersize": 1.8} if seed.height <= FEW else {}
        ax.plot(seed["epoch"], seed["value"], color=look.colour, linewidth=0.5, alpha=0.55, zorder=2, **dots)
    mean = own.filter(pl.col("kind") == "mean")
    ax.plot(mean["epoch"], mean["value"], look.line, color=look.colour, linewidth=1.8, zorder=3)
    band(ax, mean, "epoch", look.colour, 0.15)


def seeds_of(data: pl.DataFrame, condition: str) -> str:
    """How many seeds of a condition are drawn: `n = 3`."""
    return f"n = {data.filter((pl.col('condition') == condition) & (pl.col('kind') == 'seed'))['seed'].n_unique()}"


def whole_epochs(ax: Axes) -> None:
    """Whole epochs along the bottom."""
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))


def course_legend() -> list[Line2D | Patch]:
    """Legend entries of a seed, a mean and its band, in grey."""
    seed = Line2D([], [], color=style.GREY, linewidth=0.5, label="one seed")
    mean = Line2D([], [], color=style.GREY, linewidth=1.8, label="mean")
    return [seed, mean, Patch(color=style.GREY, alpha=0.15, linewidth=0, label="95 % interval")]
