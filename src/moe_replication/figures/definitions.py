"""Paper B: dead experts of every run under each definition of dead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import (
    ecology_runs,
    paper_rows,
    set_look,
    set_order,
    set_title,
    share_text,
    with_means,
)
from moe_replication.figures.style import FigureInfo

# A column each; a test pins the numbers to `census` in the settings of paper B.
DEFINITIONS = {
    "dead_experts": "top-1 share\n< {share}",
    "dead_experts_tenth_percent": "top-1 share\n< 0.1 %",
    "dead_experts_fair_share": "top-1 share < 16 %\nof the fair share",
    "dead_experts_assigned": "share of all\nassignments < {share}",
    "silent_experts": "no assignment in over\n100 training batches",
}
LANGUAGE_ROWS = ("L1", "L3")
KEYS = ("condition", "dataset", "data_used", "experts")
OUT = ("source", *KEYS, "seed", "measure", "value", "n", "ci_low", "ci_high")
ROW_HEIGHT = 0.17  # inches


def definition_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Columns of OUT: every run and the mean over seeds under each definition.

    Of the vision conditions of the paper's own rows and of the language conditions of LANGUAGE_ROWS.
    """
    found = ecology_runs(runs, ("experts", *DEFINITIONS))
    vision = (pl.col("task") == "vision") & (paper_rows().list.len() > 0)
    chosen = found.filter(vision | pl.col("rows").list.set_intersection(list(LANGUAGE_ROWS)).list.len().gt(0))
    return (
        with_means(chosen, KEYS, list(DEFINITIONS))
        .select(OUT)
        .sort("dataset", "condition", "measure", "source", "seed")
    )


def panel(ax: Axes, data: pl.DataFrame, names: list[str]) -> None:
    """One definition on one data set: a line a condition, every run a dot, the mean a bar with its interval."""
    look = set_look(data["dataset"][0])
    for place, name in enumerate(names):
        own = data.filter((pl.col("condition") == name) & (pl.col("source") == "run"))
        if not own.is_empty():
            style.seed_points(ax, place, own["value"].to_list(), look, horizontal=True, jitter=0.25)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0, labelsize=6)
    ax.tick_params(axis="x", labelsize=6.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-definitions: dead experts at the end under five definitions, a column each, the conditions below each other."""
    with style.styled():
        data = definition_data(tables["runs"])
        if data.is_empty():
            return style.save_empty(f"no runs of the paper's rows of paper B at scale {info.scale}", OUT, out_base)
        sets = set_order(data["dataset"])
        conditions = [data.filter(pl.col("dataset") == name)["condition"].unique().sort().to_list() for name in sets]
        height = 1.2 + 0.3 * len(sets) + ROW_HEIGHT * sum(map(len, conditions))
        shape = {"rows": len(sets), "columns": len(DEFINITIONS), "sharex": True}
        figure, axes = style.panels(width=style.DOUBLE, height=height, **shape)
        axes[0, 0].get_gridspec().set_height_ratios([len(names) + 0.2 for names in conditions])
        for row, name, names in zip(axes, sets, conditions, strict=True):
            _row(row, data.filter(pl.col("dataset") == name), names)
        _headings(axes, share_text(info.analysis.dead_share))
        top = data.filter(pl.col("source") == "run")["value"].max()
        axes[0, 0].set_xlim(-0.06 * max(top, 4.0), 1.08 * max(top, 4.0))
        figure.supxlabel("dead experts at the end of training", fontsize=8)
        style.legend_on_top(figure, [style.legend_dot("one run", size=3.6), style.legend_mean(horizontal=True)])
        style.save(figure, data, out_base)


def _row(row: np.ndarray, data: pl.DataFrame, names: list[str]) -> None:
    for ax, measure in zip(row, DEFINITIONS, strict=True):
        here = data.filter(pl.col("measure") == measure)
        if here.is_empty():
            style.say(ax, "not recorded")
            continue
        panel(ax, here, names)
        if ax is not row[0]:
            ax.set_yticklabels([])
    counts = data.filter(pl.col("source") == "mean")["n"].to_list()
    title = f"{set_title(data['dataset'][0], data['data_used'])}, {style.seeds_text(counts)}"
    row[0].set_title(title, loc="left", fontsize=7)


def _headings(axes: np.ndarray, share: str) -> None:
    """The definitions below the columns."""
    for ax, text in zip(axes[-1], DEFINITIONS.values(), strict=True):
        ax.set_xlabel(text.format(share=share), fontsize=6.5)
