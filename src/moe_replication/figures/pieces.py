"""Pieces of panels that many figures share: bands of intervals, and axes of named places side by side."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style


def band(ax: Axes, rows: pl.DataFrame, along: str, colour: str, alpha: float) -> None:
    """From ci_low to ci_high over column `along`; rows without an interval are left out."""
    known = rows.drop_nulls(["ci_low", "ci_high"])
    ax.fill_between(known[along], known["ci_low"], known["ci_high"], color=colour, alpha=alpha, linewidth=0)


def named_places(ax: Axes, names: Sequence[str]) -> None:
    """Names at 0, 1, ... along the bottom, without grid lines through them."""
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.grid(False, axis="x")


def borders(ax: Axes, count: int) -> None:
    """Faint lines between `count` places at 0, 1, ..."""
    for border in range(1, count):
        ax.axvline(border - 0.5, color=style.FAINT, linewidth=0.6)
