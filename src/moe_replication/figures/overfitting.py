"""Paper B: does the ecology stay as it was while the loss turns up?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import share_text
from moe_replication.figures.epochs import POINT, course, course_legend, over_epochs, seeds_of, whole_epochs
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import ECOLOGY
from moe_replication.statistics.trajectories import census_rows

# A column of panels each; one that ends in a dash holds every condition that begins so.
COLUMNS = ("l1", "l3-", "l4", "v1", "v3-e0.545", "v6")
SERIES = ("loss", "dead_experts", "usage_entropy")
COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE, style.ORANGE)
LINES = ("-", "--", "-.", ":", "-")
LOWEST = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
ALONE = style.Look(colour=style.BLACK, marker="o")


def overfitting_data(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    """SERIES by epoch as POINT; rows of kind `lowest` are the minima of the mean loss curves."""
    of_paper = pl.col("paper") == ECOLOGY
    census = census_rows(runs.filter(of_paper), curves.filter(of_paper))
    shown = [name for name in census["condition"].unique().sort() if column_of(name)]
    if not shown:
        return pl.DataFrame(schema=POINT)
    data = over_epochs(census.filter(pl.col("condition").is_in(shown)), SERIES)
    losses = data.filter((pl.col("series") == "loss") & (pl.col("kind") == "mean"))
    lowest = losses.filter(pl.col("value") == pl.col("value").min().over("condition"))
    first = lowest.unique("condition", keep="first", maintain_order=True)
    return pl.concat([data, first.with_columns(kind=pl.lit("lowest"))])


def column_of(condition: str) -> str | None:
    """The one of COLUMNS that a condition belongs to; None for one that is not shown."""
    begun = (name for name in COLUMNS if name.endswith("-") and condition.startswith(name))
    return condition if condition in COLUMNS else next(begun, None)


def looks_of(names: Sequence[str]) -> dict[str, style.Look]:
    """Black for a condition that has a column to itself, else a colour each."""
    if len(names) == 1:
        return {names[0]: ALONE}
    kinds = [style.Look(colour=colour, line=line, marker="o") for colour, line in zip(COLOURS, LINES, strict=True)]
    return dict(zip(names, itertools.cycle(kinds), strict=False))


def panel(ax: Axes, data: pl.DataFrame, series: str, looks: dict[str, style.Look]) -> None:
    """One series of the conditions of a column; a dotted line, and on the loss a triangle, at the lowest mean loss."""
    for name, look in looks.items():
        course(ax, data.filter(pl.col("series") == series), name, look)
        lowest = data.filter((pl.col("kind") == "lowest") & (pl.col("condition") == name))
        for epoch, value in lowest.select("epoch", "value").iter_rows():
            ax.axvline(epoch, color=look.colour, linestyle=":", linewidth=0.9, zorder=1)
            if series == "loss":
                ax.plot(epoch, value, "v", color=look.colour, zorder=5, **LOWEST)
    ax.tick_params(labelsize=6.5)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-overfitting: validation or test loss, dead experts and usage entropy over the epochs."""
    with style.styled():
        data = overfitting_data(tables["runs"], tables["curves"])
        if data.is_empty():
            message = f"none of {', '.join(COLUMNS)} of paper B at scale {info.scale}"
            return style.save_empty(message, list(POINT), out_base)
        found = data["condition"].unique().sort().to_list()
        groups = [group for column in COLUMNS if (group := [name for name in found if column_of(name) == column])]
        shape = {"width": style.DOUBLE, "height": 4.5, "rows": len(SERIES), "columns": len(groups)}
        figure, axes = style.panels(**shape, sharex="col")
        used = dict(tables["runs"].filter(pl.col("paper") == ECOLOGY).select("condition", "dataset").iter_rows())
        handles = course_legend()
        for names, column in zip(groups, axes.T, strict=True):
            handles += _draw_column(column, data, names, used[names[0]])
        _label(axes, data, share_text(info.analysis.dead_share))
        figure.supxlabel("epoch", fontsize=8)
        low = Line2D([], [], marker="v", linestyle=":", color=style.GREY, label="lowest mean loss")
        figure.legend(handles=[*handles, low], loc="outside upper center", ncols=4)
        style.save(figure, data, out_base)


def _draw_column(column: np.ndarray, data: pl.DataFrame, names: list[str], used: str) -> list[Line2D]:
    """The panels of some conditions on the data set `used`; legend entries where there are several."""
    looks = looks_of(names)
    for ax, series in zip(column, SERIES, strict=True):
        panel(ax, data, series, looks)
    counts = ", ".join(sorted({seeds_of(data, name) for name in names}))
    column[0].set_title(f"{column_of(names[0]).removesuffix('-')}, {counts}\n{used}", loc="left", fontsize=7)
    whole_epochs(column[-1])
    if len(names) == 1:
        return []
    return [Line2D([], [], color=look.colour, linestyle=look.line, label=name) for name, look in looks.items()]


def _label(axes: np.ndarray, data: pl.DataFrame, dead: str) -> None:
    """Names and scales: losses keep their own scale, counts share one and entropies share one.

    The scales hold every seed and mean; an interval may leave them, where it leaves what a count or entropy can be.
    """
    labels = ("loss (nats)", f"dead experts\n(usage < {dead})", "usage entropy\n(1: even)")
    for row, series, label in zip(axes, SERIES, labels, strict=True):
        row[0].set_ylabel(label)
        if series == "loss":
            continue
        values = data.filter(pl.col("series") == series)["value"]
        low, high = values.min(), max(values.max(), 1.0)
        margin = 0.08 * (high - low) or 0.05
        for ax in row:
            ax.set_ylim(low - margin, high + margin)
    for ax in axes[1]:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
